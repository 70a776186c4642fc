"""One model on this worker, from the order to load it until its engine has ended.

A copy that failed stays, as the place where its reason and the time of the next try are kept.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog
from pydantic import ValidationError

from captionfleet.broker.link import CONNECTION_TROUBLE, Link, QueueMissing, Session
from captionfleet.broker.names import Names
from captionfleet.messages import Copy, CopyState, Download, ModelAssignment
from captionfleet.resources import ModelSpec
from captionfleet_worker.cancelled import Cancelled
from captionfleet_worker.consumer import ModelConsumer
from captionfleet_worker.engine_process import (
    Answer,
    EngineDied,
    EngineOrder,
    EngineTimeout,
    Loaded,
    LoadFailed,
    Shot,
)
from captionfleet_worker.fetcher import Tell, not_understood
from captionfleet_worker.files_here import hub_repository
from captionfleet_worker.fitting import check_fits
from captionfleet_worker.learning import KeptSizes, Learning, about
from captionfleet_worker.metrics import Meters
from captionfleet_worker.reconcile import CopyFacts, retry_pause
from captionfleet_worker.slots import Slots
from captionfleet_worker.verdicts import Origin

log = structlog.get_logger()

# Reading an engine's memory costs about 10 ms, and it only grows while it works.
_MEMORY_PERIOD_SECONDS = 10.0


class Engine(Protocol):
    """The part of EngineProcess that a copy uses."""

    @property
    def loaded(self) -> Loaded: ...
    @property
    def pid(self) -> int: ...
    @property
    def alive(self) -> bool: ...
    @property
    def batch_limit(self) -> int: ...
    async def run(
        self, shots: Sequence[Shot], options: Mapping[str, Any], begun: Callable[[], None]
    ) -> list[Answer]: ...
    def cancel(self, tokens: Sequence[str]) -> None: ...
    def memory_bytes(self) -> int: ...
    async def stop(self) -> None: ...


Progress = Callable[[str], None]
Supply = Callable[[EngineOrder, Tell], Awaitable[EngineOrder]]
"""Fetches what an order needs from a hub, and returns it with the folder of that."""
StartEngine = Callable[[EngineOrder, Progress], Awaitable[Engine]]
Expect = Callable[[EngineOrder], Awaitable[None]]
"""Prepares what can be prepared for an engine that will be started soon."""


@dataclass(frozen=True)
class Workplace:
    """What all copies of one worker share."""

    worker: str
    names: Names
    link: Link
    meters: Meters
    device: str
    """As torch names it."""
    threads: int
    custom_infer: Path
    cache: Path | None
    rooms: Path
    """Folder for the engines' own folders."""
    logs: Path
    start_engine: StartEngine
    expect: Expect
    loads: Slots
    """How many engines may be loading at the same time."""
    restarts: Slots
    """As many again may start again: pictures wait for them, and a first load may take hours."""
    changed: Callable[[], None]
    """Called when what heartbeats say, or what is to be done, has changed."""
    supply: Supply
    cancelled: Cancelled
    kept_sizes: KeptSizes
    free_bytes: Callable[[], Awaitable[int | None]]
    """Memory that is left for copies at this moment; None if nothing tells."""
    offline: bool = False
    """Nobody asks a hub."""
    device_name: str = ""
    """What batch sizes are learned for."""

    def learning(self, loaded: Loaded) -> Learning:
        """What is known already of a copy's batches. Reads, perhaps over a network."""
        self.kept_sizes.forget_oldest()
        key = about(loaded.revision, self.device_name or self.device, self.threads)
        most, gpu = loaded.max_batch_size, self.device != "cpu"
        return Learning(most, self.kept_sizes, key, own_memory=gpu)


class LiveCopy:
    """See the module. It is its consumer's Captioner."""

    def __init__(
        self,
        model: str,
        wanted: ModelAssignment,
        code: str | None,
        place: Workplace,
        failures: int = 0,
        number: int = 0,
    ) -> None:
        """`code`: sha256 of its custom code. `failures`: how often loading it failed before."""
        self.model = model
        self.number = number
        self.fingerprint = wanted.fingerprint
        self.code = code
        self.failures = failures
        self.state = CopyState.LOADING
        self.wanted = wanted
        """What it was told to be made of."""
        self._place = place
        self._since = time.monotonic()
        self._message: str | None = None
        self._download: Download | None = None
        self._failure: LoadFailed | None = None
        self._retry_at: float | None = None
        self._order: EngineOrder | None = None
        self._engine: Engine | None = None
        self._loaded: Loaded | None = None
        self._learning: Learning | None = None
        self._peak_memory = 0
        self._memory_read_at = float("-inf")
        self._consumer: ModelConsumer | None = None
        self._life = asyncio.create_task(self._live())

    # What others ask of it.

    async def open(self, session: Session) -> None:
        """Consume in this session if it is ready. A missing queue is told in the message."""
        if self.state != CopyState.READY or self._consumer is None:
            return
        if not self.alive:
            self._consumer.wake()
            return
        try:
            await self._consumer.open(session)
            self._message = None
        except QueueMissing as error:
            self._message = f"waits for its queue: {error} does not exist on the broker"
        except CONNECTION_TROUBLE as error:
            log.info("consumer not opened", model=self.model, why=str(error))

    async def drain(self) -> None:
        """Take nothing new, finish what the engine has, hand back the rest, have it all acked."""
        self._set(CopyState.UNLOADING)
        if self._consumer is None:
            self._life.cancel()
        else:
            await self._consumer.drain()
        await asyncio.gather(self._life, return_exceptions=True)

    async def end(self) -> None:
        """Stop the engine. Whatever is not acked by now goes back to the broker uncounted for."""
        self._life.cancel()
        await asyncio.gather(self._life, return_exceptions=True)
        await self._stop_engine()

    async def unload(self) -> None:
        await self.drain()
        await self.end()

    async def mistrusted(self, session: Session, judge: Callable[[float, int], bool]) -> bool:
        """Whether `judge(quiet seconds, ready tasks)` says that its consumer gets nothing."""
        if self._consumer is None or not judge(self._consumer.quiet_seconds(), 1):
            return False
        return judge(self._consumer.quiet_seconds(), await self._consumer.lanes.ready(session))

    def recall(self) -> None:
        """More was cancelled, of whatever model it is."""
        if self._consumer:
            self._consumer.recall()

    @property
    def pid(self) -> int | None:
        return self._engine.pid if self._engine else None

    @property
    def repository(self) -> str | None:
        """OWNER/NAME of what it is made from, if that is on a hub."""
        return hub_repository(self.wanted.spec)

    @property
    def held_tokens(self) -> list[str]:
        return self._consumer.held_tokens if self._consumer else []

    @property
    def running_tokens(self) -> list[str]:
        return self._consumer.running_tokens if self._consumer else []

    def facts(self) -> CopyFacts:
        served = self._consumer is not None
        return CopyFacts(
            self.model, self.fingerprint, self.code, self.state, self._retry_at, self.number,
            serves=served and self.state in (CopyState.READY, CopyState.LOADING),
        )  # fmt: skip

    def view(self) -> Copy:
        """The copy as heartbeats tell it."""
        now = time.monotonic()
        retry_in = None if self._retry_at is None else round(max(0.0, self._retry_at - now), 1)
        described = Copy(
            model=self.model, state=self.state, fingerprint=self.fingerprint,
            reason=self._failure.reason if self._failure else None,
            message=str(self._failure.message) if self._failure else self._message,
            retry_in_seconds=retry_in, state_seconds=round(now - self._since, 1),
            retriable=self._failure is None or self._failure.retriable,
            download=self._download if self.state == CopyState.DOWNLOADING else None,
        )  # fmt: skip
        return described.model_copy(update={**self._measured(), **self._work()})

    def _measured(self) -> dict[str, Any]:
        if self._loaded is None:
            return {}
        now = time.monotonic()
        working = self._consumer is not None and self._consumer.idle_seconds() < 1
        if self._engine and working and now - self._memory_read_at >= _MEMORY_PERIOD_SECONDS:
            self._memory_read_at = now
            self._peak_memory = max(self._peak_memory, self._engine.memory_bytes())
        return {
            "revision": self._loaded.revision,
            "memory_bytes": max(self._peak_memory, self._loaded.memory_bytes),
            "load_seconds": round(self._loaded.load_seconds, 2),
            "max_batch_size": self._loaded.max_batch_size,
            **(self._learned(self._learning) if self._learning else {}),
            "asked": self._loaded.asked,
        }

    def _learned(self, learning: Learning) -> dict[str, Any]:
        told: dict[str, Any] = {
            "max_batch_size": learning.allowed, "batch_size": learning.size({}),
        }  # fmt: skip
        assert self._loaded
        asked = self._loaded.max_batch_size
        if self.state == CopyState.READY and not self._message and learning.allowed < asked:
            told["message"] = (
                f"memory allows batches of {learning.allowed}, not of {asked} "
                "(spec.batching.maxBatchSize)"
            )
        return told

    def _work(self) -> dict[str, Any]:
        if self._consumer is None:
            return {}
        pace = self._consumer.pace
        return {
            "rates": {size: round(rate, 3) for size, rate in sorted(pace.rates.items())},
            "median_seconds": pace.median_seconds,
            "consuming": self._consumer.lanes.consuming,
            "idle_seconds": round(self._consumer.idle_seconds(), 1),
        }

    # What its consumer asks of it.

    @property
    def alive(self) -> bool:
        return self._engine is not None and self._engine.alive

    @property
    def prefetch(self) -> int:
        assert self._learning
        return self._learning.prefetch

    def batch_size(self, options: Mapping[str, Any]) -> int:
        assert self._learning
        return self._learning.size(options)

    def note_rate(self, options: Mapping[str, Any], size: int, rate: float) -> None:
        assert self._learning
        self._learning.note(options, size, rate)

    def note_too_large(self, size: int) -> None:
        assert self._learning
        self._learning.doubt(size)

    @property
    def timeout_seconds(self) -> float:
        assert self._order
        return self._order.spec.inference.timeout_seconds

    @property
    def seeded(self) -> bool:
        assert self._order
        return self._order.spec.generation.seed is not None

    @property
    def origin(self) -> Origin:
        revision = self._loaded.revision if self._loaded else None
        return Origin(self._place.worker, self.fingerprint, revision)

    async def run(
        self, shots: Sequence[Shot], options: Mapping[str, Any], begun: Callable[[], None]
    ) -> list[Answer]:
        """One batch. Raises EngineDied, EngineTimeout or NotBegun; the engine is gone then."""
        engine = self._engine
        if engine is None:
            raise EngineDied(f"the engine of {self.model} is not running")
        try:
            answers = await engine.run(shots, options, begun)
        except (EngineDied, EngineTimeout):
            await self._stop_engine()
            raise
        if self._learning:
            self._learning.limit(options, engine.batch_limit)
        return answers

    def cancel(self, tokens: Sequence[str]) -> None:
        if self._engine:
            self._engine.cancel(tokens)

    async def restart(self) -> None:
        """Have a living engine; does nothing if there is one. Raises LoadFailed."""
        if self.alive:
            return
        self._set(CopyState.LOADING, "starting its engine again")
        await self._stop_engine()
        await self._have_engine()
        self._place.meters.engine_restarts.labels(self.model).inc()
        self._set(CopyState.READY)

    # Its life.

    async def _live(self) -> None:
        structlog.contextvars.bind_contextvars(model=self.model)  # of all that is logged below
        try:
            await self._have_engine()
            self.failures = 0
            self._consumer = ModelConsumer(
                self.model, self, self._place.link, self._place.names, self._place.meters,
                self._place.changed, self._place.cancelled,
            )  # fmt: skip
            self._set(CopyState.READY)
            await self._consumer.serve()
            await self._consumer.finish()
        except LoadFailed as failure:
            await self._fail(failure)
        except Exception as error:
            # One copy's trouble must not end the others: it is told like any failed load.
            log.exception("copy ended by an error of the worker", model=self.model)
            await self._fail(LoadFailed("WorkerError", f"{type(error).__name__}: {error}", True))

    async def _have_engine(self) -> None:
        order = self._order or self._make_order()
        await self._place.expect(order)
        self._order = await self._place.supply(order, self._tell_download)
        async with self._slots.one(self._tell_wait):
            await self._start_engine()

    @property
    def _slots(self) -> Slots:
        return self._place.restarts if self._consumer else self._place.loads

    async def _start_engine(self) -> None:
        assert self._order
        free = await self._place.free_bytes()
        await asyncio.to_thread(check_fits, self._order, free)  # it reads, perhaps over a network
        self._engine = await self._place.start_engine(self._order, self._tell_progress)
        self._loaded = self._engine.loaded
        if self._learning is None:
            self._learning = await asyncio.to_thread(self._place.learning, self._loaded)
        self._place.meters.load_seconds.labels(self.model).observe(self._loaded.load_seconds)

    def _make_order(self) -> EngineOrder:
        try:
            spec = ModelSpec.model_validate(self.wanted.spec)
        except ValidationError as error:
            raise not_understood(error) from None
        place = self._place
        return EngineOrder(
            model=self.model, spec=spec, device=place.device, threads=place.threads,
            custom_infer=place.custom_infer, cache=place.cache,
            rooms=place.rooms, log_file=place.logs / f"{self.model}.log",
            offline=place.offline,
        )  # fmt: skip

    async def _stop_engine(self) -> None:
        if engine := self._engine:
            await engine.stop()  # who is cancelled meanwhile leaves it to be stopped again
            self._engine = None

    async def _fail(self, failure: LoadFailed) -> None:
        log.warning("copy failed", model=self.model, reason=failure.reason, why=failure.message)
        self.failures += 1
        if self._consumer:
            await self._consumer.finish()
        await self._stop_engine()
        self._failure = failure
        self._retry_at = time.monotonic() + retry_pause(self.failures, retriable=failure.retriable)
        if self.state != CopyState.UNLOADING:
            self._set(CopyState.FAILED)

    def _tell_progress(self, sentence: str, state: CopyState = CopyState.LOADING) -> None:
        if self.state in (CopyState.LOADING, CopyState.DOWNLOADING):
            self._set(state, sentence)

    def _tell_wait(self) -> None:
        other = "started again" if self._consumer else "loaded"
        limit = f"(hosting.maxConcurrentLoads is {self._slots.most})"
        self._tell_progress(f"waits until another model has {other} here {limit}")

    def _tell_download(self, sentence: str, download: Download | None) -> None:
        self._download = download
        # Numbers alone can wait for the next heartbeat.
        if (self.state, self._message) != (CopyState.DOWNLOADING, sentence):
            self._tell_progress(sentence, CopyState.DOWNLOADING)

    def _set(self, state: CopyState, message: str | None = None) -> None:
        if self.state == CopyState.UNLOADING:
            return  # there is no way back
        if state != self.state:
            self._since = time.monotonic()
            log.info("copy", model=self.model, state=state.value)
        self.state, self._message = state, message
        self._place.changed()
