"""A small world for the conservation test: an api that may die at every fault point, workers that
may die, and between them a broker in memory that loses, repeats and reorders what it is given.

Relay, results writer and sweeper are the real ones, on a real database.
"""

import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.api.fake_broker import FakeAnswer, FakeBroker, Stored
from tests.api.flow_parts import Store, catalog_of, copy_of, heartbeat, open_store
from tests.api.scripted_worker import captioned

from captionfleet.broker.names import Names
from captionfleet.catalog import FolderCatalog
from captionfleet.messages import Outcome, ResultMessage, TaskMessage
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.holds import Holds
from captionfleet_api.jobs.publisher import Publisher
from captionfleet_api.jobs.relay import Relay
from captionfleet_api.jobs.results import Results
from captionfleet_api.jobs.sweeper import Sweeper
from captionfleet_api.jobs.witness import Witness
from captionfleet_api.store.tables import OPEN_STATES, Task

NAMES = Names("test")
RESULTS = NAMES.results_queue("test")
MODELS = ["m", "n"]
POISON = b"poison"


class Died(BaseException):
    """The process was killed at a fault point. No handler of errors sees that."""


@dataclass
class Deaths:
    """Stands in for fault_point: the next process to reach the armed point dies of it."""

    armed: str | None = None

    def __call__(self, point: str) -> None:
        if point == self.armed:
            self.armed = None
            raise Died(point)


@dataclass
class Held:
    """A task at a worker, and the queue it goes back to."""

    queue: str
    stored: Stored

    @property
    def message(self) -> TaskMessage:
        return self.stored.message


@dataclass
class World:
    """An api that may die, two workers that may die, and the broker between them."""

    store: Store
    catalog: FolderCatalog
    now: float = 0.0
    broker: FakeBroker = field(default_factory=lambda: FakeBroker(NAMES))
    results_queue: list[bytes] = field(default_factory=list)
    unacked: list[bytes] = field(default_factory=list)
    acked: list[ResultMessage] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    lives: int = 0

    @classmethod
    async def begin(cls, stack: AsyncExitStack) -> "World":
        """It ends with the stack."""
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = await stack.enter_async_context(open_store(folder))
        return cls(store, catalog_of(folder, *MODELS))

    def __post_init__(self) -> None:
        self.start_api()

    def start_api(self) -> None:
        """A new process: it knows nothing but the database, and gets unacked results again."""
        self.lives += 1
        self.results_queue += self.unacked
        self.unacked = []
        clock = self.clock
        database, self.changes = self.store.database, Changes()
        self.view, holds = FleetView(clock), Holds(clock)
        self.publisher = Publisher(
            self.broker, NAMES, RESULTS, database, self.store.blobs, self.changes, holds
        )
        self.relay = Relay(database, self.catalog, self.view, self.publisher, holds, self.changes)
        self.results = Results(database, self.changes)
        self.witness = Witness(database, self.view, self.changes)
        self.sweeper = Sweeper(
            self.broker, NAMES, RESULTS, database, self.view, self.results, self.changes, 30
        )
        self.publisher.connected_anew()

    def clock(self) -> float:
        return self.now

    async def heartbeats(self) -> None:
        tokens = [each.message.token for each in self.held]
        copies = [copy_of(model, rates={1: 1.0}, max_batch_size=1) for model in MODELS]
        self.view.hear(heartbeat(*copies, held=tokens, running=tokens[:2]))
        await self.witness.look()

    def room_for_jobs(self) -> bool:
        return len(self.broker.published) < 100

    def has_to_publish(self) -> bool:
        return not self.publisher._waiting.empty()

    def has_to_record(self) -> bool:
        return not self.publisher._done.empty()

    def has_to_repair(self) -> bool:
        return self.publisher._look_again.is_set()

    def take(self, which: int) -> None:
        """A worker takes any message of any queue; the rule of the suspect lane is kept."""
        queue, stored = self.ready()[which % len(self.ready())]
        self.broker.queues[queue].remove(stored)
        suspect_lane = queue == NAMES.suspect_queue(stored.message.model)
        if stored.count and not suspect_lane:
            self.answer(stored.message, Outcome.SUSPECT)
        elif stored.count >= 2:
            self.answer(stored.message, Outcome.FAILED, "crashes_the_model")
        else:
            self.held.append(Held(queue, stored))

    def ready(self) -> list[tuple[str, Stored]]:
        queues = self.broker.queues.items()
        return [(name, stored) for name, queue in queues for stored in queue]

    def answer(self, message: TaskMessage, outcome: Outcome, code: str | None = None) -> None:
        right = captioned(message)
        text = right.text if outcome is Outcome.CAPTIONED else None
        told = {"outcome": outcome, "text": text, "error_code": code}
        self.results_queue.append(right.model_copy(update=told).encode())

    def finish(self, which: int, outcome: Outcome) -> None:
        """A worker is done with one task; a poisonous picture kills it instead."""
        each = self.held[which % len(self.held)]
        if each.message.picture == POISON and outcome is Outcome.CAPTIONED:
            self.kill_workers()
            return
        self.answer(each.message, outcome, "model_error")
        self.held.remove(each)

    def kill_workers(self) -> None:
        for each in self.held:
            self.broker.queues[each.queue].append(each.stored.again())
        self.held = []

    async def read_results(self, which: int, most: int) -> None:
        """Some results arrive, in any order, and are written."""
        for _ in range(min(most, len(self.results_queue))):
            body = self.results_queue.pop(which % len(self.results_queue))
            self.unacked.append(body)
            await self.results.take(FakeAnswer(body, self.acking(body)))
        await self.results.write_some()

    def acking(self, body: bytes) -> Callable[[], None]:
        life = self.lives

        def ack() -> None:
            if life == self.lives:
                self.unacked.remove(body)
                self.acked.append(ResultMessage.model_validate_json(body))

        return ack

    def wipe_broker(self) -> None:
        """It forgets everything, and who was connected connects anew."""
        self.broker.wipe()
        self.held, self.results_queue, self.unacked = [], [], []
        self.start_api()

    async def sweep(self) -> None:
        self.broker.waiting_results = len(self.results_queue)
        await self.sweeper.check(self.broker)

    async def settle(self) -> None:
        """From here on nothing goes wrong. All tasks must end."""
        self.broker.fates.clear()
        for _ in range(100):
            self.now += 20
            await self.heartbeats()
            await self.relay.release(MODELS)
            await self.flow()
            if not self.broker_has_work():
                await self.heartbeats()
                await self.sweep()
                if not await self.open_tasks():
                    return
        raise AssertionError(f"{len(await self.open_tasks())} tasks never end")

    async def flow(self) -> None:
        """Everybody does what there is to do."""
        while self.has_to_publish():
            await self.publisher.lane()
        if self.has_to_record():
            await self.publisher.record_some()
        if self.has_to_repair():
            await self.publisher.repair()
        while self.ready():
            self.take(0)
        for _ in range(len(self.held)):
            if self.held:
                self.finish(0, Outcome.CAPTIONED)
        if self.results_queue:
            await self.read_results(0, 100)

    def broker_has_work(self) -> bool:
        queued = any(self.broker.queues.values())
        return queued or bool(self.held or self.results_queue or self.unacked)

    async def open_tasks(self) -> list[Task]:
        return [task for task in await self.store.tasks() if task.state in OPEN_STATES]
