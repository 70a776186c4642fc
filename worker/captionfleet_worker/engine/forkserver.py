"""`python -m captionfleet_worker.engine.forkserver FD PARENT`: forks engines, all imported.

Started by an agent. It imports what every model needs once, uses no device and keeps one thread,
so that each fork is as good as a process of its own, and there at once. It dies with its agent,
and its engines with it. FD is a socket of packets: `{"do": "fork", ...}` with an engine's two
files comes in, `warm`, `forked`, `refused` and `ended` go out.
"""

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from captionfleet_worker.dying import die_with
from captionfleet_worker.engine.__main__ import be_engine

_MODULES = (
    "torch", "numpy", "PIL.Image", "safetensors.torch", "transformers",
    "transformers.generation.utils", "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto", "transformers.models.auto.processing_auto",
    "transformers.models.auto.image_processing_auto", "transformers.models.auto.tokenization_auto",
    "captionfleet_worker.engine.checkpoint", "captionfleet_worker.engine.transformers_captioner",
)  # fmt: skip
_MOST_BYTES = 1 << 18
"""Of one request: an environment of usual size takes a hundredth."""


def main() -> None:
    fd, parent = int(sys.argv[1]), int(sys.argv[2])
    die_with(parent)
    link = socket.socket(fileno=fd)
    _warm_up()
    _say(link, {"say": "warm"})
    _serve(link)


def _warm_up() -> None:
    for name in _MODULES:
        importlib.import_module(name)
    importlib.import_module("PIL.Image").init()
    # What is here stays: collecting garbage in a fork would copy all these pages.
    gc.collect()
    gc.freeze()


def _serve(link: socket.socket) -> None:
    """Until the agent closes its end."""
    woken, wakes = socket.socketpair()
    for each in (woken, wakes):
        each.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(link, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is woken:
                    with contextlib.suppress(BlockingIOError):
                        woken.recv(4096)
                    _report_ends(link)
                else:
                    _fork_one(link)


def _fork_one(link: socket.socket) -> None:
    data, files, _, _ = socket.recv_fds(link, _MOST_BYTES, 2)
    if not data:
        os._exit(0)  # the agent is gone or wants no more; the kernel ends the engines
    asked = json.loads(data)
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:  # ending over it would end the engines that there are
        _say(link, {"say": "refused", "why": error.strerror})
    else:
        if not pid:
            link.close()
            _be_engine(files, parent, asked)
        _say(link, {"say": "forked", "pid": pid})
    for file in files:
        os.close(file)


def _be_engine(files: Sequence[int], parent: int, asked: Mapping[str, Any]) -> NoReturn:
    engine_socket, output = files
    _settle(output, asked["environment"])
    be_engine(engine_socket, parent, Path(asked["room"]))


def _settle(output: int, environment: Mapping[str, str]) -> None:
    """Become a process of one's own: group, output, environment, chance."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    if modules := environment.get("HF_MODULES_CACHE"):
        # Read once, when transformers was imported, for the fork-server and not for this engine.
        for name in ("transformers.dynamic_module_utils", "transformers.utils.hub"):
            sys.modules[name].HF_MODULES_CACHE = modules  # type: ignore[attr-defined]
    sys.modules["numpy"].random.seed()


def _report_ends(link: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            _say(link, {"say": "ended", "pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _say(link: socket.socket, said: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        link.send(json.dumps(said).encode())


if __name__ == "__main__":
    main()
