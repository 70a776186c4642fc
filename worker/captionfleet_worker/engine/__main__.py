"""`python -m captionfleet_worker.engine FD PARENT ROOM`: started by an agent, never by a person.

Serves one agent over the inherited socket FD and dies with it. ROOM is a folder of its own.
"""

import gc
import logging
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue, SimpleQueue
from typing import Any, BinaryIO, NoReturn

from captionfleet_worker.cancelled import Cancelled
from captionfleet_worker.dying import die_with
from captionfleet_worker.engine.answering import Batch
from captionfleet_worker.engine.generation import told
from captionfleet_worker.engine.loading import Ready, load
from captionfleet_worker.engine.protocol import (
    EngineOrder,
    Header,
    LoadFailed,
    Shot,
    cut,
    framed,
    receive_frame,
)
from captionfleet_worker.memory_of import resident_memory

Frames = SimpleQueue[tuple[Header, bytes]]
Line = Queue[tuple[int, float, Batch] | None]
"""Prepared batches, with the number of their run and when it came; None at the end."""
_end = os._exit
"""The one that a person's code calls tells where: see leaving.py."""


def main() -> None:
    be_engine(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))


def be_engine(link: int, parent: int, room: Path) -> NoReturn:
    """Serve one agent over the socket `link`, and end. `parent` is the process that started us."""
    die_with(parent)
    # When memory runs out, lose one model rather than the agent that knows of all.
    with suppress(OSError):  # some sandboxes forbid it
        Path("/proc/self/oom_score_adj").write_text("500")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with _or_end():
        _obey(socket.socket(fileno=link), room)
        sys.stdout.flush()
    # Taking the interpreter apart takes torch two seconds, and nothing is left to save.
    _end(0)


@contextmanager
def _or_end() -> Iterator[None]:
    """What goes wrong here cannot be told to the agent: this process ends at once, which is heard.

    Going on would leave an engine that never answers, or a second fork-server.
    """
    try:
        yield
    except BaseException:
        with suppress(Exception):
            traceback.print_exc()
        _end(1)


def _obey(agent: socket.socket, room: Path) -> None:
    stream = agent.makefile("wb")
    frames: Frames = SimpleQueue()
    cancelled = Cancelled()
    receiving = (agent.makefile("rb"), frames, cancelled)
    threading.Thread(target=_receive, args=receiving, daemon=True).start()
    header, _ = frames.get()
    ready = _load(EngineOrder.from_header(header), room, stream)
    if ready:
        _serve(ready, frames, cancelled, stream)
        _unload(ready, stream)


def _receive(stream: BinaryIO, frames: Frames, cancelled: Cancelled) -> None:
    """Runs in a thread of its own, so that a vanished agent ends even a busy engine, and a batch
    that is at work hears who does not wait any more."""
    with _or_end():
        try:
            while True:
                frame = receive_frame(stream)
                if frame[0]["do"] == "cancel":
                    cancelled.add(frame[0]["tokens"])
                else:
                    frames.put(frame)
        except (EOFError, OSError):
            _end(0)


def _load(order: EngineOrder, room: Path, stream: BinaryIO) -> Ready | None:
    def progress(sentence: str) -> None:
        _say(stream, {"say": "progress", "sentence": sentence})

    _limit_threads(order.threads)
    try:
        ready = load(order, room, progress)
    except LoadFailed as failed:
        print(_told(room), file=sys.stderr)
        _say(stream, {"say": "failed", "reason": failed.reason, "message": failed.message,
                      "retriable": failed.retriable})  # fmt: skip
        return None
    _limit_threads(order.threads)  # again: what was loaded may have brought torch along
    _say(stream, {"say": "loaded", "revision": ready.revision, "device_memory": _device_memory(),
                  "uses_torch": "torch" in sys.modules,
                  "asked": told(ready.answering.defaults)})  # fmt: skip
    return ready


def _told(room: Path) -> str:
    """The traceback, with files of a manifest named as they are named there."""
    return traceback.format_exc().replace(f"{room / 'code'}/", "")


def _serve(ready: Ready, frames: Frames, cancelled: Cancelled, stream: BinaryIO) -> None:
    """This thread drives the device; another prepares the next batch meanwhile."""
    # One batch ahead: more would only wait, and take memory.
    line: Line = Queue(maxsize=1)
    threading.Thread(target=_prepare, args=(ready, frames, line), daemon=True).start()
    ended = 0.0
    while batch := line.get():
        run, came, prepared = batch
        if ready.limit:
            ready.limit.renew()
        _say(stream, {"say": "begun", "run": run})
        answers = ready.answering.finish(prepared, cancelled)
        # Measured here: a busy agent may hear of two batches at once.
        before, ended = ended, time.monotonic()
        share = (ended - max(came, before)) / len(answers)
        headers = [{**each.to_header(), "seconds": share} for each in answers]
        _say(stream, {"say": "answers", "run": run, "device_memory": _device_memory(),
                      "batch_limit": ready.answering.max_batch_size, "answers": headers,
                      })  # fmt: skip


def _prepare(ready: Ready, frames: Frames, line: Line) -> None:
    with _or_end():
        while (frame := frames.get())[0]["do"] != "stop":
            header, body = frame
            came = time.monotonic()
            if ready.limit:
                ready.limit.renew()
            pictures = cut(body, header["sizes"])
            shots = list(map(Shot, pictures, header["prompts"], header["tokens"]))
            line.put((header["run"], came, ready.answering.prepare(shots, header["options"])))
        line.put(None)


def _unload(ready: Ready, stream: BinaryIO) -> None:
    problem = None
    try:
        ready.captioner.unload()
    except Exception as error:
        traceback.print_exc()
        problem = ready.captioner.describe(error)
    gc.collect()
    _say(stream, {"say": "unloaded", "problem": problem, "memory": resident_memory(os.getpid())})


def _say(stream: BinaryIO, header: dict[str, Any]) -> None:
    stream.writelines(framed(header))
    stream.flush()


def _limit_threads(threads: int) -> None:
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


def _device_memory() -> int | None:
    """Bytes held on the GPU by this process, or None if it uses none."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        return int(torch.cuda.memory_reserved())
    return None


if __name__ == "__main__":
    main()
