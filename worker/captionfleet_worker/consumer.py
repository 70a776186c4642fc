"""Consumes one model: takes tasks, runs them in batches, answers each exactly once.

It decides neither what a batch is (batcher) nor what a task is answered (verdicts), and knows
no process: the copy hands it a Captioner.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from captionfleet.broker.link import Delivery, Link, Session
from captionfleet.broker.names import Names
from captionfleet.faults import fault_point
from captionfleet.messages import MalformedTask, TaskMessage
from captionfleet_worker.answers import Answers
from captionfleet_worker.batcher import next_batch
from captionfleet_worker.engine.protocol import CANCELLED
from captionfleet_worker.engine_process import (
    Answer,
    EngineDied,
    EngineTimeout,
    LoadFailed,
    Shot,
)
from captionfleet_worker.lanes import Lanes
from captionfleet_worker.measuring import Pace
from captionfleet_worker.metrics import Meters
from captionfleet_worker.verdicts import (
    RETURNED,
    SUSPECT,
    Held,
    Lane,
    Origin,
    crashed,
    on_answer,
    on_arrival,
    timed_out,
)

log = structlog.get_logger()

_MOST_FLIGHTS = 2
"""Batches that an engine has: one runs, one is prepared."""


class Captioner(Protocol):
    """A loaded model, as its consumer sees it."""

    @property
    def alive(self) -> bool:
        """Its engine runs."""

    @property
    def prefetch(self) -> int:
        """Tasks to hold, so that a batch waits while another runs."""

    def batch_size(self, options: Mapping[str, Any]) -> int:
        """Most pictures of the next batch with these options."""

    def note_rate(self, options: Mapping[str, Any], size: int, rate: float) -> None:
        """A full batch ran right behind another, at `rate` pictures per second."""

    def note_too_large(self, size: int) -> None:
        """A batch of `size` had its engine killed, though each picture of it runs alone."""

    @property
    def timeout_seconds(self) -> float:
        """Longest time of one batch."""

    @property
    def seeded(self) -> bool:
        """The model's own defaults name a seed."""

    @property
    def origin(self) -> Origin: ...

    async def run(
        self, shots: Sequence[Shot], options: Mapping[str, Any], begun: Callable[[], None]
    ) -> list[Answer]:
        """One batch; a second one may be handed over meanwhile. `begun` is called when the device
        begins with it. Raises EngineDied or EngineTimeout, or NotBegun for a batch behind the one
        that ended the engine; restart() is needed then."""

    def cancel(self, tokens: Sequence[str]) -> None:
        """Nobody waits for these shots of its batches: they may be answered at once, in vain."""

    async def restart(self) -> None:
        """Have a living engine again; does nothing if it lives. Raises LoadFailed."""


@dataclass(eq=False)
class _Flight:
    """A batch that the engine has."""

    batch: list[Held]
    running: asyncio.Task[list[Answer]]
    since: float
    """When it was handed over."""
    full: bool
    """No more would have fitted."""


class ModelConsumer:
    """See the module. `changed` is called when what heartbeats say has changed."""

    def __init__(
        self,
        model: str,
        captioner: Captioner,
        link: Link,
        names: Names,
        meters: Meters,
        changed: Callable[[], None],
        cancelled: Container[str],
    ) -> None:
        """`cancelled`: tokens whose answers nobody waits for."""
        self._model = model
        self._captioner = captioner
        self._meters = meters
        self._changed = changed
        self._cancelled = cancelled
        self.pace = Pace()
        self.lanes = Lanes(names, model, lambda: captioner.prefetch, self._take)
        self._answers = Answers(link, names, meters, captioner.origin, self._forget)
        self._arrivals = 0
        self._held: dict[int, Held] = {}
        self._waiting: list[Held] = []
        self._flights: deque[_Flight] = deque()
        self._running: list[Held] = []
        self._landed_at = 0.0
        self._arrived = asyncio.Event()
        self._draining = asyncio.Event()
        self._last_work = time.monotonic()
        self._last_arrival = time.monotonic()

    @property
    def held_tokens(self) -> list[str]:
        """Tokens taken from the broker and not answered."""
        return [each.task.token for each in self._held.values()]

    @property
    def running_tokens(self) -> list[str]:
        return [each.task.token for each in self._running]

    def idle_seconds(self) -> float:
        """Seconds since it last had work."""
        return 0.0 if self._held else time.monotonic() - self._last_work

    def quiet_seconds(self) -> float:
        """Seconds that an open, idle consumer has got nothing; 0 while busy or not open."""
        if self._held or not self.lanes.consuming:
            self._last_arrival = time.monotonic()
        return time.monotonic() - self._last_arrival

    async def open(self, session: Session) -> None:
        """Raises QueueMissing if one of the model's queues does not exist."""
        self._drop_gone()
        if not self._draining.is_set():
            await self.lanes.open(session)

    async def serve(self) -> None:
        """Run batches until drain() is called. Raises LoadFailed if the engine cannot come back;
        everything held has been handed back then."""
        try:
            while not self._draining.is_set():
                await self._arrived.wait()
                self._arrived.clear()
                # One turn of the loop, so that tasks that came in one go share a batch.
                await asyncio.sleep(0)
                if not self._captioner.alive:
                    await self._recover([], None)
                while self._hand_over():
                    await self._land()
        except Exception:
            await self._call_back()  # finish() hands it back
            raise
        finally:
            for each in self._flights:
                each.running.cancel()

    def recall(self) -> None:
        """More was cancelled: drop what waits of it, and let the engine end the rest."""
        self._drop_gone()
        flying = [each.task.token for flight in self._flights for each in flight.batch]
        if gone := [token for token in flying if token in self._cancelled]:
            self._captioner.cancel(gone)

    def wake(self) -> None:
        """Look again: the engine may have ended while idle."""
        self._arrived.set()

    async def drain(self) -> None:
        """Take nothing new and hand back what the engine does not have; serve() ends after that,
        which is two batches at most."""
        self._draining.set()
        self._arrived.set()
        # First cancel, then answer: an answer makes room for a delivery, and RabbitMQ counts one
        # that meets a cancelled consumer as a failed one.
        await self.lanes.pause()
        self._hand_back()
        fault_point("worker: in drain")

    async def finish(self) -> None:
        """After serve() has ended: wait until every answer is acked, then close the consumers."""
        await self.drain()
        await self._answers.flush()
        await self.lanes.close()

    async def _take(self, lane: Lane, delivery: Delivery) -> None:
        self._last_arrival = time.monotonic()
        try:
            task = TaskMessage.decode(delivery.headers, delivery.reply_to, delivery.body)
            if task.model != self._model:
                raise MalformedTask(f"a task of {task.model} came by the queue of {self._model}")
        except MalformedTask as error:
            self._meters.malformed.inc()
            log.warning("message refused", model=self._model, why=str(error))
            await delivery.ack()
            return
        if delivery.delivery_count:
            self._meters.redelivered.labels(self._model).inc()
        self._arrivals += 1
        seeded = task.options.get("seed") is not None or self._captioner.seeded
        held = Held(self._arrivals, task, delivery, alone=seeded or lane == Lane.SUSPECT)
        self._held[held.number] = held
        if task.token in self._cancelled:
            self._answers.drop(held)
        elif verdict := on_arrival(lane, delivery.delivery_count, task):
            self._answers.give(held, verdict)
        elif self._draining.is_set():
            self._answers.give(held, RETURNED)
        else:
            self._waiting.append(held)
            self._arrived.set()

    def _drop_gone(self) -> None:
        self._waiting = self._still_wanted(self._waiting)

    def _still_wanted(self, tasks: Sequence[Held]) -> list[Held]:
        """Without what came by a session that is over, as the broker delivers it again, and
        without what was cancelled."""
        wanted = []
        for each in tasks:
            if not each.delivery.alive:
                self._forget(each)
            elif each.task.token in self._cancelled:
                self._answers.drop(each)
            else:
                wanted.append(each)
        return wanted

    def _hand_over(self) -> bool:
        """Give the engine what it may have now; whether it has something.

        While it is busy that is a full batch, which it prepares meanwhile. A smaller one waits for
        company until the engine is free, and who must be alone is given when it is alone.
        """
        if len(self._flights) < _MOST_FLIGHTS and (batch := self._next_batch()):
            if not self._flights or self._is_full(batch):
                self._fly(batch)
            else:
                self._waiting += batch
        return bool(self._flights)

    def _next_batch(self) -> list[Held]:
        if self._draining.is_set():
            return []
        self._drop_gone()
        batch = next_batch(self._waiting, self._captioner.batch_size)
        for each in batch:
            self._waiting.remove(each)
        return batch

    def _is_full(self, batch: list[Held]) -> bool:
        size = self._captioner.batch_size(batch[0].task.options)
        return len(batch) == size and not batch[0].alone

    def _fly(self, batch: list[Held]) -> None:
        running = asyncio.create_task(self._run(batch))
        full = self._is_full(batch)
        self._flights.append(_Flight(batch, running, time.monotonic(), full))

    async def _run(self, batch: list[Held]) -> list[Answer]:
        shots = [Shot(each.task.picture, each.task.prompt, each.task.token) for each in batch]

        def begun() -> None:
            self._running = batch
            self._measure_wait(batch)
            self._changed()

        running = asyncio.ensure_future(self._captioner.run(shots, batch[0].task.options, begun))
        await asyncio.sleep(0)
        fault_point("worker: in mid-batch")
        return await running

    async def _land(self) -> None:
        """Wait until the engine is done with a batch, or until something arrives."""
        oldest = self._flights[0]
        arrival = asyncio.ensure_future(self._arrived.wait())
        try:
            await asyncio.wait({oldest.running, arrival}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrival.cancel()
        self._arrived.clear()
        if oldest.running.done() and (trouble := await self._landed()):
            await self._recover(oldest.batch, trouble)

    async def _landed(self) -> EngineDied | EngineTimeout | None:
        """Answer the oldest batch; or tell what befell the engine, with nothing answered and the
        batch behind it back where it was."""
        flight = self._flights[0]
        batch = flight.batch
        await asyncio.wait({flight.running})  # till then it can be cancelled
        self._flights.popleft()
        try:
            answers = flight.running.result()
        except (EngineDied, EngineTimeout) as trouble:
            self._meters.engine_ends.labels(self._model).inc()
            tasks = [each.task.task for each in batch]
            log.warning("engine lost", model=self._model, tasks=tasks, why=str(trouble))
            await self._call_back()
            return trouble
        finally:
            if self._running is batch:  # else the device is at the next one already
                self._running = []
        self._answer(flight, answers)
        return None

    def _answer(self, flight: _Flight, answers: Sequence[Answer]) -> None:
        seconds, cut_short = answers[0].seconds or 0.0, False
        for held, answer in zip(flight.batch, answers, strict=True):
            self._meters.tokens.labels(self._model).inc(answer.tokens or 0)
            if answer.finish == CANCELLED or held.task.token in self._cancelled:
                cut_short = True
                self._answers.drop(held)
            else:
                self._answers.give(held, on_answer(answer, seconds))
        if not cut_short:
            self._measure(flight, seconds)
        self._landed_at = time.monotonic()

    async def _call_back(self) -> None:
        """Take back what the engine has not begun with, after its end."""
        flights, self._flights = list(self._flights), deque()
        for each in flights:
            each.running.cancel()
            await asyncio.gather(each.running, return_exceptions=True)
            self._waiting += each.batch
        if self._draining.is_set():
            self._hand_back()

    def _measure_wait(self, batch: list[Held]) -> None:
        now = time.time()
        for each in batch:
            if (released := each.task.released_at) is not None:
                self._meters.queue_wait.labels(self._model).observe(max(0.0, now - released))

    def _measure(self, flight: _Flight, seconds: float) -> None:
        """`seconds`: per picture."""
        size = len(flight.batch)
        if flight.full and flight.since < self._landed_at:
            options = flight.batch[0].task.options
            self._captioner.note_rate(options, size, 1 / max(seconds, 1e-6))
        self.pace.note(size, seconds * size)
        self._meters.batch_size.labels(self._model).observe(size)
        for _ in range(size):
            self._meters.seconds.labels(self._model).observe(seconds)

    async def _recover(self, batch: list[Held], trouble: EngineDied | EngineTimeout | None) -> None:
        """Try each member of a batch that ended its engine alone; then serve as before.

        The batch is empty if the engine ended while idle.
        """
        await self.lanes.pause()
        left, survived = self._still_wanted(batch), 0
        try:
            while left and await self._engine_back():
                left = self._still_wanted(left)  # starting an engine takes its time
                if left:
                    survived += await self._survives_alone(left.pop(0))
            killed = isinstance(trouble, EngineDied) and trouble.killed
            if killed and survived == len(batch) > 1:
                self._captioner.note_too_large(len(batch))
            if await self._engine_back():
                await self.lanes.resume()
        finally:
            # A drain came between, or there is no engine: who was there when it died is suspect.
            for each in left:
                self._answers.give(each, SUSPECT)
        self._changed()

    async def _survives_alone(self, held: Held) -> bool:
        self._fly([held])
        trouble = await self._landed()
        if isinstance(trouble, EngineTimeout):
            limit = self._captioner.timeout_seconds
            self._answers.give(held, timed_out(limit, trouble.place))
        elif trouble:
            self._answers.give(held, crashed(trouble.how))
        return trouble is None

    async def _engine_back(self) -> bool:
        """Wait for a living engine; False if a drain came first. Raises LoadFailed."""
        if self._draining.is_set():
            return False
        restart = asyncio.ensure_future(self._captioner.restart())
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait({restart, draining}, return_when=asyncio.FIRST_COMPLETED)
            if self._draining.is_set():
                return False
            restart.result()
            return True
        finally:
            restart.cancel()
            draining.cancel()
            await asyncio.gather(restart, draining, return_exceptions=True)

    def _hand_back(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            self._answers.give(each, RETURNED)

    def _forget(self, held: Held) -> None:
        self._held.pop(held.number, None)
        self._last_work = time.monotonic()


__all__ = ["Captioner", "LoadFailed", "ModelConsumer"]
