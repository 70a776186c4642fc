"""Nothing lost, nothing twice, nothing crossed: the real relay, results writer and sweeper on a
real database, while hypothesis lets the api die at every fault point, workers die, and a broker
in memory loses, repeats and reorders what it is given.
"""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.api.fake_broker import FakeAnswer, FakeBroker, Fate, Stored
from tests.api.flow_parts import catalog_of, copy_of, heartbeat, open_store
from tests.api.scripted_worker import captioned

from captionfleet.broker.names import Names
from captionfleet.messages import Outcome, ResultMessage, TaskMessage
from captionfleet_api.jobs import publisher as publisher_module
from captionfleet_api.jobs import results as results_module
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.holds import Holds
from captionfleet_api.jobs.publisher import Publisher
from captionfleet_api.jobs.relay import Relay
from captionfleet_api.jobs.results import Results
from captionfleet_api.jobs.sweeper import MOST_LOSSES, Sweeper
from captionfleet_api.jobs.witness import Witness
from captionfleet_api.store.tables import OPEN_STATES, Attempt, Job, JobState, Task, TaskState

NAMES = Names("test")
RESULTS = NAMES.results_queue("test")
MODELS = ["m", "n"]
POISON = b"poison"
PICTURES = [b"cat", b"dog", b"cow", b"car", POISON]
PUBLISHING = ["relay: after commit, before publish", "relay: after publish, before confirm"]
RECORDING = "relay: after confirm"
WRITING = ["results: before commit", "results: after commit, before ack"]
some = st.integers(0, 10**6)


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

    now: float = 0.0
    broker: FakeBroker = field(default_factory=lambda: FakeBroker(NAMES))
    results_queue: list[bytes] = field(default_factory=list)
    unacked: list[bytes] = field(default_factory=list)
    acked: list[ResultMessage] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    lives: int = 0

    async def begin(self, stack: AsyncExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.store = await stack.enter_async_context(open_store(folder))
        self.catalog = catalog_of(folder, *MODELS)
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

    async def release(self) -> None:
        await self.heartbeats()
        await self.relay.release(MODELS)

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

    async def sweep(self) -> None:
        self.broker.waiting_results = len(self.results_queue)
        await self.sweeper.check(self.broker)

    async def settle(self) -> None:
        """From here on nothing goes wrong. All tasks must end."""
        self.broker.fates.clear()
        for _ in range(100):
            self.now += 20
            await self.release()
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


class Conservation(RuleBasedStateMachine):
    """Every rule is a thing that may happen at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.deaths = Deaths()
        self.ended: dict[str, tuple[str, str | None, str | None]] = {}
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.world = World()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(publisher_module, "fault_point", self.deaths)
        self.patch.setattr(results_module, "fault_point", self.deaths)
        self.patch.setattr(publisher_module, "_PAUSE_WHEN_UNSURE", 0)
        self.do(self.world.begin(self.stack))

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            self.loop.run_until_complete(work)
        except Died:
            self.world.start_api()

    def dying_at(self, point: str | None, work: Coroutine[Any, Any, None]) -> None:
        self.deaths.armed = point
        self.do(work)
        self.deaths.armed = None

    @rule(
        pictures=st.lists(st.sampled_from(PICTURES), min_size=1, max_size=4),
        models=st.sampled_from([["m"], ["m", "n"]]),
    )
    def a_job_comes(self, pictures: list[bytes], models: list[str]) -> None:
        async def submit() -> None:
            await self.world.store.submit(pictures, models)

        self.do(submit())

    @rule()
    def tasks_are_released(self) -> None:
        self.do(self.world.release())

    @precondition(lambda self: self.world.has_to_publish())
    @rule(fate=st.sampled_from(Fate), death=st.none() | st.sampled_from(PUBLISHING))
    def a_task_is_published(self, fate: Fate, death: str | None) -> None:
        self.world.broker.fates.append(fate)
        self.dying_at(death, self.world.publisher.lane())
        self.world.broker.fates.clear()

    @precondition(lambda self: self.world.has_to_publish())
    @rule()
    def all_tasks_are_published(self) -> None:
        while self.world.has_to_publish():
            self.do(self.world.publisher.lane())

    @precondition(lambda self: self.world.has_to_record())
    @rule(death=st.none() | st.just(RECORDING))
    def confirms_are_recorded(self, death: str | None) -> None:
        self.dying_at(death, self.world.publisher.record_some())

    @precondition(lambda self: self.world.has_to_repair())
    @rule()
    def unconfirmed_attempts_are_published_again(self) -> None:
        self.do(self.world.publisher.repair())

    @precondition(lambda self: self.world.ready())
    @rule(which=some, most=st.integers(1, 4))
    def a_worker_takes_tasks(self, which: int, most: int) -> None:
        for _ in range(min(most, len(self.world.ready()))):
            self.world.take(which)

    @precondition(lambda self: self.world.held)
    @rule(which=some, outcome=st.sampled_from(Outcome))
    def a_worker_answers(self, which: int, outcome: Outcome) -> None:
        self.world.finish(which, outcome)

    @precondition(lambda self: self.world.held)
    @rule(which=some, answered=st.booleans())
    def a_worker_dies_perhaps_between_result_and_ack(self, which: int, answered: bool) -> None:
        message = self.world.held[which % len(self.world.held)].message
        if answered and message.picture != POISON:
            self.world.answer(message, Outcome.CAPTIONED)
        self.world.kill_workers()

    @precondition(lambda self: self.world.broker.published)
    @rule(which=some, other=some)
    def an_answer_goes_astray(self, which: int, other: int) -> None:
        """The right caption of one picture under the token of another task."""
        seen = self.world.broker.published
        asked, crossed = seen[which % len(seen)], seen[other % len(seen)]
        if (asked.sha256, asked.model) != (crossed.sha256, crossed.model):
            wrong = captioned(crossed).model_copy(update={"token": asked.token, "task": asked.task})
            self.world.results_queue.append(wrong.encode())

    @precondition(lambda self: self.world.broker.published)
    @rule(which=some, outcome=st.sampled_from(Outcome))
    def an_old_answer_turns_up(self, which: int, outcome: Outcome) -> None:
        """Whatever was once asked may be answered late, and again."""
        seen = self.world.broker.published
        message = seen[which % len(seen)]
        if message.picture != POISON:
            self.world.answer(message, outcome, "model_error")

    @precondition(lambda self: self.world.results_queue)
    @rule(which=some, most=st.integers(1, 5), death=st.none() | st.sampled_from(WRITING))
    def results_are_written(self, which: int, most: int, death: str | None) -> None:
        self.dying_at(death, self.world.read_results(which, most))

    @rule()
    def the_api_starts_again(self) -> None:
        self.world.start_api()

    @rule(heard=st.booleans())
    def the_sweeper_looks(self, heard: bool) -> None:
        self.world.now += 30
        if heard:
            self.do(self.world.heartbeats())
        self.do(self.world.sweep())

    @rule()
    def the_broker_is_wiped(self) -> None:
        self.world.broker.wipe()
        self.world.held = []
        self.world.results_queue = []
        self.world.unacked = []
        self.world.start_api()

    @invariant()
    def the_database_tells_the_truth(self) -> None:
        tasks, attempts = self.rows(Task), self.rows(Attempt)
        self.captions_are_true_and_final(tasks)
        self.what_was_acked_is_written(tasks, attempts)
        out = sorted(task.id for task in tasks if task.state == TaskState.QUEUED)
        assert out == sorted(attempt.task for attempt in attempts if not attempt.ended)

    def captions_are_true_and_final(self, tasks: list[Task]) -> None:
        for task in tasks:
            if task.state == TaskState.CAPTIONED:
                assert task.caption == f"{task.model} sees {task.picture_sha256} "
            if task.state not in OPEN_STATES:
                shown = (task.state, task.caption, task.error_code)
                assert self.ended.setdefault(task.id, shown) == shown
            assert task.state not in OPEN_STATES or task.id not in self.ended

    def what_was_acked_is_written(self, tasks: list[Task], attempts: list[Attempt]) -> None:
        asked = {task.id: task for task in tasks}
        under = {attempt.token: asked[attempt.task] for attempt in attempts}
        for result in self.world.acked:
            task = under.get(result.token)
            if task and result.outcome in (Outcome.CAPTIONED, Outcome.FAILED):
                right = (task.id, task.model, task.picture_sha256)
                if (result.task, result.model, result.sha256) == right:
                    assert task.state not in OPEN_STATES

    def rows(self, table: type[Any]) -> list[Any]:
        return self.loop.run_until_complete(self.world.store.rows(table))

    def teardown(self) -> None:
        try:
            self.loop.run_until_complete(self.world.settle())
            self.the_database_tells_the_truth()
            for task in self.rows(Task):
                if task.error_code == "lost":
                    assert task.losses >= MOST_LOSSES
            assert all(job.state == JobState.COMPLETED for job in self.rows(Job))
        finally:
            self.patch.undo()
            self.loop.run_until_complete(self.stack.aclose())
            self.loop.close()


TestConservation = Conservation.TestCase
TestConservation.settings = settings(
    max_examples=12, stateful_step_count=40, suppress_health_check=list(HealthCheck)
)
