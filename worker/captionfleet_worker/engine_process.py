"""The agent's side of an engine: start it, hand it batches, notice its death, end it.

Imports neither torch nor transformers. What the child does is in `engine/`.
"""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from captionfleet_worker.engine import last_words
from captionfleet_worker.engine.own_files import code_folders
from captionfleet_worker.engine.protocol import (
    Answer,
    EngineOrder,
    Header,
    LoadFailed,
    Shot,
    framed,
    read_frame,
)
from captionfleet_worker.engine_log import EngineLog
from captionfleet_worker.engine_room import leave_room, make_room
from captionfleet_worker.fork_server import ForkedEngine
from captionfleet_worker.launching import Child, Launch, launch_alone
from captionfleet_worker.memory_of import resident_memory
from captionfleet_worker.process_tree import end_leftovers, end_tree
from captionfleet_worker.runs import NotBegun, Run, Runs

__all__ = [
    "Answer",
    "EngineDied",
    "EngineOrder",
    "EngineProcess",
    "EngineTimeout",
    "LoadFailed",
    "Loaded",
    "NotBegun",
    "Shot",
]

log = structlog.get_logger()

_POLITE_SECONDS = 5.0
_LAST_WORD_SECONDS = 0.2
"""For what it said just before it ended to be read."""
_GONE = (asyncio.IncompleteReadError, ConnectionError)


class EngineDied(Exception):
    """The engine process ended. The message says how."""

    def __init__(self, message: str, how: str = "", *, killed: bool = False) -> None:
        """`how`: in a few words, for the person whose picture it was. `killed`: by a
        SIGKILL that was not ours, as the kernel sends when memory is short."""
        super().__init__(message)
        self.how = how
        self.killed = killed


class EngineTimeout(Exception):
    """A batch took longer than spec.inference.timeoutSeconds; the engine was killed."""

    def __init__(self, message: str, place: str | None = None) -> None:
        """`place`: where a person's code stood: `own.py, line 6, in infer`."""
        super().__init__(message)
        self.place = place


@dataclass(frozen=True)
class Loaded:
    """What a loaded engine tells about itself."""

    revision: str
    memory_bytes: int
    load_seconds: float
    """Seconds from start() until it could caption, without the time of downloads."""
    max_batch_size: int
    uses_torch: bool = False
    """Its process has torch."""
    asked: str = ""
    """How it is asked where a job says nothing, in words."""


@dataclass(frozen=True)
class Unloaded:
    """What an engine tells last."""

    problem: str | None
    """Why unload() failed, in words."""
    memory_bytes: int
    """Main memory that is left in its process, which then ends and returns that too."""


class EngineProcess:
    """One engine: a child process with a loaded model. Made by start(), ended by stop()."""

    def __init__(
        self,
        order: EngineOrder,
        process: Child,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        room: Path,
        log: EngineLog,
    ) -> None:
        self.loaded: Loaded
        self.batch_limit = order.spec.batching.max_batch_size
        """Most pictures of one batch, as far as its memory has shown."""
        self.unloaded: Unloaded | None = None
        """Once stop() has let it unload; None if it ended otherwise."""
        self.stood_in: str | None = None
        """Where a person's code was when it kept the engine waiting, or ended it."""
        self.pid = process.pid
        self._order = order
        self._process = process
        self._reader = reader
        self._writer = writer
        self._room = room
        self._log = log
        self._runs = Runs(order.spec.inference.timeout_seconds, self._late)
        self._listening: asyncio.Task[None] | None = None
        self._watching = asyncio.create_task(self._watch())
        self._ending: asyncio.Task[None] | None = None
        self._timeout: EngineTimeout | None = None
        self._ended_here = False
        self._told = ""
        self._device_memory: int | None = None
        self._last_memory = 0

    @classmethod
    async def start(
        cls,
        order: EngineOrder,
        progress: Callable[[str], None],
        launch: Launch = launch_alone,
    ) -> "EngineProcess":
        """Launch an engine, load the model, smoke-test it. Raises LoadFailed; leaves no process.

        `progress(sentence)` is called on the way. Loading and smoke test are bounded by
        spec.acceptance.timeoutSeconds.
        """
        progress("starting the engine")
        begun = time.monotonic()
        engine = await _spawn(order, launch)
        try:
            engine.loaded = await engine._load(progress, begun)
        except BaseException:
            await engine._kill()
            raise
        engine._listening = asyncio.create_task(engine._listen())
        return engine

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def run(
        self,
        shots: Sequence[Shot],
        options: Mapping[str, Any],
        begun: Callable[[], None] = lambda: None,
    ) -> list[Answer]:
        """Caption one batch with one set of options; answers in the order of the shots.

        Another batch may be handed over meanwhile: it is prepared, and run when this one is done.
        `begun` is called when the device begins with it. Raises EngineDied, EngineTimeout after
        spec.inference.timeoutSeconds, or NotBegun if the engine ended so over an earlier batch.
        """
        if not self.alive:
            raise await self._died()
        run = self._runs.add(len(shots), begun)
        header = {
            "do": "run", "run": run.number, "options": dict(options),
            "prompts": [shot.prompt for shot in shots],
            "tokens": [shot.token for shot in shots],
            "sizes": [len(shot.picture) for shot in shots],
        }  # fmt: skip
        with contextlib.suppress(ConnectionError):  # who listens notices, and ends the run
            await self._send(header, [shot.picture for shot in shots])
        return await run.answers

    def cancel(self, tokens: Sequence[str]) -> None:
        """Nobody waits for these shots any more: what is written of them ends at the next token.

        Their batch is answered as ever. A person's own code that takes whole batches is left to
        end by itself; where it takes one picture at a time, those are skipped.
        """
        with contextlib.suppress(ConnectionError, RuntimeError):  # it is just ending
            self._writer.writelines(framed({"do": "cancel", "tokens": list(tokens)}))

    def memory_bytes(self) -> int:
        """Bytes it takes now: of the GPU on a GPU, else its share of main memory (PSS)."""
        if self._device_memory is not None:
            return self._device_memory
        # A process that just ended has no figures: the last ones stand.
        with contextlib.suppress(OSError, ProcessLookupError):
            self._last_memory = resident_memory(self.pid)
        return self._last_memory

    async def stop(self) -> None:
        """Let it unload, then end it with everything it started. May be called again."""
        if self.alive:
            try:
                async with asyncio.timeout(_POLITE_SECONDS):
                    await self._send({"do": "stop"})
                    await self._process.wait()
            except TimeoutError:
                await self._place()
                stood_in = self.stood_in
                log.warning("engine killed: it did not end", model=self._order.model, at=stood_in)
            except _GONE:
                pass
        await self._kill()
        if self._listening:
            await asyncio.wait({self._listening})

    async def _load(self, progress: Callable[[str], None], begun: float) -> Loaded:
        limit = self._order.spec.acceptance.timeout_seconds
        try:
            await self._send({"do": "load", **self._order.to_header()})
            while True:
                async with asyncio.timeout(begun + limit - time.monotonic()):
                    said, _ = await read_frame(self._reader)
                if said["say"] == "progress":
                    progress(said["sentence"])
                elif said["say"] == "failed":
                    raise LoadFailed(said["reason"], said["message"], said["retriable"])
                else:
                    return self._loaded(said, time.monotonic() - begun)
        except TimeoutError:
            place = await self._place()
            raise LoadFailed(
                "LoadTimeout",
                f"not loaded within {limit} s (spec.acceptance.timeoutSeconds){_was_in(place)}: "
                f"raise it, or see {self._order.log_file}",
                retriable=True,
            ) from None
        except _GONE:
            died = await self._died()
            raise LoadFailed("EngineDied", f"while loading, {died}", retriable=True) from None

    def _loaded(self, said: Header, seconds: float) -> Loaded:
        self._device_memory = said["device_memory"]
        return Loaded(
            revision=said["revision"],
            memory_bytes=self.memory_bytes(),
            load_seconds=seconds,
            max_batch_size=self._order.spec.batching.max_batch_size,
            uses_torch=said["uses_torch"],
            asked=said["asked"],
        )

    async def _send(self, header: Header, pictures: Sequence[bytes] = ()) -> None:
        self._writer.writelines(framed(header, pictures))
        await self._writer.drain()

    async def _listen(self) -> None:
        """Until the engine ends, however that comes about."""
        try:
            while True:
                said, _ = await read_frame(self._reader)
                if said["say"] == "begun":
                    self._runs.begun(said["run"])
                elif said["say"] == "unloaded":
                    self._hear_unloaded(Unloaded(said["problem"], said["memory"]))
                else:
                    self._device_memory = said["device_memory"]
                    self.batch_limit = said["batch_limit"]
                    answers = [Answer(**answer) for answer in said["answers"]]
                    self._runs.answered(said["run"], answers)
        except Exception as error:  # whatever made of the connection something else ends it too
            if not isinstance(error, _GONE):
                log.exception("an engine spoke nonsense", model=self._order.model)
            died = await self._died()
            self._runs.end(self._timeout or died)

    def _hear_unloaded(self, unloaded: Unloaded) -> None:
        self.unloaded = unloaded
        if unloaded.problem:
            log.warning("unload failed", model=self._order.model, why=unloaded.problem)

    async def _watch(self) -> None:
        """Processes that it left behind may hold its connection: its own end ends that."""
        await self._process.wait()
        await asyncio.sleep(_LAST_WORD_SECONDS)
        self._writer.close()

    def _late(self, run: Run) -> None:
        self._ending = asyncio.create_task(self._end_late(run))

    async def _end_late(self, run: Run) -> None:
        place = await self._place()
        if run.answers.done() and not run.answers.cancelled():
            return  # it came while we asked
        self._timeout = EngineTimeout(
            f"no answer for {run.pictures} picture(s) within "
            f"{self._order.spec.inference.timeout_seconds} s "
            f"(spec.inference.timeoutSeconds){_was_in(place)}; the engine was ended",
            place,
        )
        await self._kill()

    async def _place(self) -> str | None:
        """Where a person's code stands in an engine that answers too late; all of it is logged."""
        self._told = said = await last_words.ask(self.pid, self._room)
        self._log.write(said)
        self.stood_in = last_words.place_in(said, code_folders(self._order, self._room))
        return self.stood_in

    async def _died(self) -> EngineDied:
        """How it ended. Whatever closed its connection without ending is ended here."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLITE_SECONDS):
                await self._process.wait()
        said = last_words.read(self._room)
        self.stood_in = place = last_words.place_in(said, code_folders(self._order, self._room))
        killed = self._killed
        await self._kill()
        if said != self._told:  # or it was logged when it was asked
            self._log.write(said)
        code = self._process.returncode or 0
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        how += f", in {place}" if place else ""
        often = ", often sent by the kernel when memory is short" if killed else ""
        told = f"the engine ended ({how}{often}); its log is {self._order.log_file}"
        return EngineDied(told, how, killed=killed)

    @property
    def _killed(self) -> bool:
        """By somebody else, and not with the fork-server, whose end says nothing of a batch."""
        process = self._process
        lost = isinstance(process, ForkedEngine) and process.lost
        return process.returncode == -signal.SIGKILL and not lost and not self._ended_here

    async def _kill(self) -> None:
        # With all it started: a person's code may have started processes of its own.
        if self.alive:
            self._ended_here = True
            await asyncio.to_thread(end_tree, self.pid)
        await self._process.wait()
        self._writer.close()
        if self._room.exists():
            await asyncio.to_thread(end_leftovers, self._room)
            await self._log.end()
            leave_room(self._room)


def _was_in(place: str | None) -> str:
    return f": it was in {place}" if place else ""


async def _spawn(order: EngineOrder, launch: Launch) -> EngineProcess:
    try:
        room = make_room(order.rooms, order.model)
        log = await EngineLog.open(order.log_file)
    except OSError as error:
        raise LoadFailed(
            "LoadFailed",
            f"the worker cannot write {error.filename}: {error.strerror}; free space there, or "
            "name a folder in CAPTIONFLEET_DATA that its user may write to",
            retriable=True,
        ) from None
    try:
        return await _spawn_in(room, order, log, launch)
    except BaseException:
        await log.end()
        leave_room(room)
        raise


async def _spawn_in(
    room: Path, order: EngineOrder, log: EngineLog, launch: Launch
) -> EngineProcess:
    ours, theirs = socket.socketpair()
    try:
        with theirs, log.opened() as output:
            process = await launch(order, room, theirs.fileno(), output)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
    except BaseException:
        ours.close()  # which ends the engine, if there is one
        raise
    return EngineProcess(order, process, reader, writer, room, log)
