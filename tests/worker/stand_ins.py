"""What surrounds a worker in its tests: an engine that does as told, and the api's end of a fleet.

The stand-in engine provokes on demand what the real one does only by chance.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from tests.conftest import eventually

from captionfleet.broker.link import Delivery, Link, Session
from captionfleet.broker.names import Names
from captionfleet.broker.topology import declare_model_queues, declare_results_queue
from captionfleet.ids import new_id, new_nonce
from captionfleet.messages import (
    Assignment,
    Copy,
    CopyState,
    Generation,
    Heartbeat,
    ModelAssignment,
    Outcome,
    ResultMessage,
    TaskMessage,
    Wanted,
)
from captionfleet_worker.engine_process import (
    Answer,
    EngineDied,
    EngineOrder,
    EngineTimeout,
    Loaded,
    NotBegun,
    Shot,
)

SPEC = {"custom": {"entrypoint": "stand_in:StandIn"}}
DEADLY = b"deadly"
SLOW = b"slow"
STRANGE = b"strange"


def wanted(spec: Mapping[str, Any] = SPEC, fingerprint: str = "f1") -> ModelAssignment:
    return ModelAssignment(state=Wanted.LOADED, fingerprint=fingerprint, spec=dict(spec))


class StandInEngine:
    """Captions b"cat" as "a cat"; dies of b"deadly"; b"slow" takes it too long; on
    b"strange" it breaks its promises."""

    def __init__(self, workshop: "Workshop") -> None:
        self.loaded = Loaded("revision-1", 1000, 0.5, workshop.max_batch_size)
        self.pid = 2**22 + 1  # above what the kernel gives out: nothing is there to be killed
        self.alive = True
        self.batch_limit = workshop.max_batch_size
        self.cancelled: list[str] = []
        self._workshop = workshop
        self._device = asyncio.Lock()

    async def run(
        self, shots: Sequence[Shot], options: Mapping[str, Any], begun: Callable[[], None]
    ) -> list[Answer]:
        self._workshop.handed_over.append(len(shots))
        async with self._device:
            if not self.alive:
                raise NotBegun("it ended over an earlier batch")
            begun()
            return await self._captions([shot.picture for shot in shots])

    async def _captions(self, pictures: list[bytes]) -> list[Answer]:
        self._workshop.batches.append(pictures)
        await self._workshop.gate.wait()
        if STRANGE in pictures:
            raise RuntimeError("not even an answer")
        if DEADLY in pictures:
            self.alive = False
            raise EngineDied("signal SIGSEGV")
        if SLOW in pictures:
            self.alive = False
            raise EngineTimeout("too long")
        return [
            Answer(f"a {each.decode()}", "stop", 3, None, None, seconds=0.01) for each in pictures
        ]

    def cancel(self, tokens: Sequence[str]) -> None:
        self.cancelled += tokens

    def memory_bytes(self) -> int:
        return 1000

    async def stop(self) -> None:
        self.alive = False


@dataclass
class Workshop:
    """Starts stand-in engines and remembers what was asked of them."""

    max_batch_size: int = 4
    batches: list[list[bytes]] = field(default_factory=list)
    """What engines began with."""
    handed_over: list[int] = field(default_factory=list)
    """Sizes of the batches that engines were given."""
    engines: list[StandInEngine] = field(default_factory=list)
    orders: list[EngineOrder] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Closed: batches wait inside the engine."""
    may_load: asyncio.Event = field(default_factory=asyncio.Event)
    """Closed: loads wait."""
    failures: list[Exception] = field(default_factory=list)
    """Raised by the next loads, one each."""

    def __post_init__(self) -> None:
        self.gate.set()
        self.may_load.set()

    async def start(self, order: EngineOrder, progress: Any) -> StandInEngine:
        self.orders.append(order)
        progress("loading the stand-in")
        await self.may_load.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.engines.append(StandInEngine(self))
        return self.engines[-1]

    async def expect(self, order: EngineOrder) -> None:
        """Nothing prepares a stand-in."""

    async def supply(self, order: EngineOrder, tell: Any) -> EngineOrder:
        """Stand-in engines need no files."""
        return order

    async def fetch(self, model: str, asked: ModelAssignment, tell: Any) -> None:
        raise NotImplementedError("no test asks a workshop for files")


class Desk:
    """The api's end: publishes tasks of one model and gathers the results."""

    def __init__(self, link: Link, session: Session, names: Names, model: str) -> None:
        self.link = link
        self.session = session
        self.names = names
        self.model = model
        self.queue = names.results_queue(new_nonce())
        self.results: list[ResultMessage] = []

    async def open(self) -> None:
        await declare_model_queues(self.session, self.names, self.model)
        await declare_results_queue(self.session, self.names, self.queue)
        await self.session.consume(self.queue, self._take, prefetch=100)

    async def send(self, *pictures: bytes, suspect: bool = False, **fields: Any) -> list[str]:
        """Publish a task per picture; the tasks' ids are the pictures and a serial number."""
        key = self.names.suspect_key if suspect else self.names.model_key
        tasks = [self.task(picture, **fields) for picture in pictures]
        for task in tasks:
            await self.link.publish(
                self.names.tasks, key(self.model), task.picture,
                headers=task.headers(), reply_to=task.reply_to,
            )  # fmt: skip
        return [task.task for task in tasks]

    def task(self, picture: bytes, **fields: Any) -> TaskMessage:
        made: dict[str, Any] = {
            "task": new_id(), "token": new_id(), "model": self.model, "picture": picture,
            "sha256": sha256(picture).hexdigest(), "reply_to": self.queue, **fields,
        }  # fmt: skip
        return TaskMessage(**made)

    def outcomes(self) -> dict[str, str]:
        """Task id -> caption, error code or outcome. Fails on a second answer to one task."""
        said: dict[str, str] = {}
        for result in self.results:
            assert result.task not in said, f"answered twice: {result}"
            said[result.task] = (
                result.text or result.error_code or result.outcome.value
                if result.outcome != Outcome.CAPTIONED
                else str(result.text)
            )
        return said

    async def left(self) -> int:
        """Tasks ready in the model's two queues."""
        counts = [
            await self.session.ready_count(queue)
            for queue in (self.names.model_queue(self.model), self.names.suspect_queue(self.model))
        ]
        return sum(count or 0 for count in counts)

    async def _take(self, delivery: Delivery) -> None:
        self.results.append(ResultMessage.model_validate(json.loads(delivery.body)))
        await delivery.ack()


class Api(Desk):
    """A desk that obeys: it releases again what is returned, or suspect."""

    async def settle(self, pictures: Mapping[str, bytes]) -> dict[str, set[str]]:
        """Wait until each task (id -> picture) has ended; id -> its captions and error codes."""
        seen = 0
        while set(self.ends()) != set(pictures):
            await eventually(lambda seen=seen: len(self.results) > seen, seconds=60)  # type: ignore[misc]
            fresh, seen = self.results[seen:], len(self.results)
            for result in fresh:
                if result.outcome in (Outcome.RETURNED, Outcome.SUSPECT):
                    suspect = result.outcome == Outcome.SUSPECT
                    await self.send(pictures[result.task], suspect=suspect, task=result.task)
        return self.ends()

    def ends(self) -> dict[str, set[str]]:
        ends: dict[str, set[str]] = {}
        for result in self.results:
            if result.outcome in (Outcome.CAPTIONED, Outcome.FAILED):
                said = str(result.text or result.error_code)
                ends.setdefault(result.task, set()).add(said)
        return ends


class Operator:
    """The operator's end: hears heartbeats, sends assignments to one worker."""

    def __init__(self, link: Link, session: Session, names: Names) -> None:
        self.link = link
        self.session = session
        self.names = names
        self.incarnation = new_id()
        self.counter = 0
        self.heartbeats: list[Heartbeat] = []

    async def open(self) -> None:
        queue = self.names.listen_queue(self.names.heartbeats, "test", new_nonce())
        await self.session.listen(self.names.heartbeats, queue, "", self._hear)

    async def assign(
        self,
        models: Mapping[str, ModelAssignment],
        *,
        pool: str = "p",
        worker: str = "w1",
        loads: int = 1,
    ) -> Generation:
        self.counter += 1
        generation = Generation(incarnation=self.incarnation, counter=self.counter)
        assignment = Assignment(
            worker=worker, generation=generation, models=dict(models), max_concurrent_loads=loads
        )
        await self.link.publish(
            self.names.assignments, self.names.worker_key(pool, worker), assignment.encode()
        )
        return generation

    @property
    def last(self) -> Heartbeat:
        return self.heartbeats[-1]

    def copy(self, model: str) -> Copy | None:
        """The model's copy by the last heartbeat."""
        copies = self.heartbeats[-1].copies if self.heartbeats else []
        return next((copy for copy in copies if copy.model == model), None)

    def state(self, model: str) -> CopyState | None:
        copy = self.copy(model)
        return copy.state if copy else None

    def serves(self, model: str) -> bool:
        copy = self.copy(model)
        return copy is not None and copy.consuming

    async def _hear(self, delivery: Delivery) -> None:
        self.heartbeats.append(Heartbeat.model_validate_json(delivery.body))
