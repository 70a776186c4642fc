"""The sweeper acts on evidence: an attempt is lost only if nobody can still have it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update
from structlog.testing import capture_logs
from tests.api.fake_broker import FakeAnswer, FakeBroker, Stored
from tests.api.flow_parts import Store, copy_of, counted, heartbeat, open_store

from captionfleet.broker.names import Names
from captionfleet.messages import Outcome, ResultMessage, TaskMessage
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.claims import Outgoing, claim, ensure_lock
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.release_window import window
from captionfleet_api.jobs.results import Results
from captionfleet_api.jobs.sweeper import Out, Sweeper, missing
from captionfleet_api.jobs.witness import Witness
from captionfleet_api.store.tables import Attempt, Task

NAMES = Names("test")
QUEUE = NAMES.model_queue("m")
SUSPECTS = NAMES.suspect_queue("m")
outs = st.builds(
    Out, st.text("abc", min_size=1), st.sampled_from("mn"), st.sampled_from(["model", "suspect"])
)
places = st.sets(st.tuples(st.sampled_from("mn"), st.sampled_from(["model", "suspect"])))


@given(st.lists(outs), places, st.sets(st.text("abc", min_size=1)))
def test_missing_is_who_is_neither_held_nor_can_be_queued(
    out: list[Out], empty: set[tuple[str, str]], held: set[str]
) -> None:
    gone = missing(out, empty, held)
    assert not gone & held
    assert gone == {o.token for o in out if (o.model, o.lane) in empty} - held


@dataclass
class Floor:
    """A sweeper on a real database and a broker in memory."""

    store: Store
    view: FleetView = field(default_factory=FleetView)
    changes: Changes = field(default_factory=Changes)
    broker: FakeBroker = field(default_factory=lambda: FakeBroker(NAMES))

    def __post_init__(self) -> None:
        database = self.store.database
        self.results = Results(database, self.changes)
        self.witness = Witness(database, self.view, self.changes)
        self.sweeper = Sweeper(
            self.broker, NAMES, "captionfleet.test.results.x", database, self.view, self.results,
            self.changes, interval=0.01,
        )  # fmt: skip

    async def release(self) -> list[Outgoing]:
        """Release all pending tasks, confirmed, but let the broker lose them."""
        await ensure_lock(self.store.database, "m")
        async with self.store.database.write() as session:
            claimed = await claim(session, "m", window([copy_of("m")]), {})
            await session.execute(update(Attempt).values(confirmed=True))
        return claimed.outgoing

    async def check(self, times: int = 2) -> None:
        for _ in range(times):
            await self.sweeper.check(self.broker)

    async def run(self, *attempts: Outgoing) -> None:
        """A heartbeat says that these run."""
        tokens = [attempt.token for attempt in attempts]
        self.view.hear(heartbeat(copy_of("m"), held=tokens, running=tokens))
        await self.witness.look()

    async def one_lost(self) -> Task:
        """The only task, after one attempt at it ran and vanished."""
        await self.run(*await self.release())
        self.view.hear(heartbeat(gone=True))
        await self.check()
        [task] = await self.store.tasks()
        return task


@pytest.fixture
async def floor(tmp_path: Path, database_url: str) -> AsyncIterator[Floor]:
    async with open_store(tmp_path, database_url) as store:
        await store.submit([b"cat"])
        yield Floor(store)


def in_queue(attempt: Outgoing) -> Stored:
    return Stored(TaskMessage(attempt.task, attempt.token, "m", "", "", b""))


async def test_an_attempt_missing_at_two_checks_is_released_again(floor: Floor) -> None:
    [first] = await floor.release()
    await floor.check()
    assert await floor.store.states() == ["pending"]
    assert await floor.changes.models_woken() == {"m"}
    [second] = await floor.release()
    assert first.token != second.token


async def test_what_is_released_again_is_told_by_model(floor: Floor) -> None:
    before = counted("captionfleet_tasks_swept_total", model="m")
    await floor.store.submit([b"dog"])
    await floor.release()
    with capture_logs() as logs:
        await floor.check()
    [told] = [each for each in logs if each["event"] == "lost attempts are released again"]
    assert (told["model"], told["attempts"], told["log_level"]) == ("m", 2, "warning")
    assert counted("captionfleet_tasks_swept_total", model="m") == before + 2


async def test_one_check_is_not_enough(floor: Floor) -> None:
    await floor.release()
    await floor.check(times=1)
    assert await floor.store.states() == ["queued"]


async def test_an_attempt_that_a_worker_holds_is_not_lost(floor: Floor) -> None:
    [attempt] = await floor.release()
    floor.view.hear(heartbeat(copy_of("m"), held=[attempt.token]))
    await floor.check(times=5)
    assert await floor.store.states() == ["queued"]


async def test_an_attempt_that_may_wait_in_its_queue_is_not_lost(floor: Floor) -> None:
    [attempt] = await floor.release()
    floor.broker.queues[QUEUE].append(in_queue(attempt))
    await floor.check(times=5)
    assert await floor.store.states() == ["queued"]


async def test_the_other_lane_is_no_evidence(floor: Floor) -> None:
    [attempt] = await floor.release()
    floor.broker.queues[SUSPECTS].append(in_queue(attempt))
    floor.broker.queues[QUEUE].clear()
    await floor.check()
    assert await floor.store.states() == ["pending"]


async def test_being_seen_between_two_checks_starts_the_evidence_anew(floor: Floor) -> None:
    [attempt] = await floor.release()
    await floor.check(times=1)
    floor.view.hear(heartbeat(copy_of("m"), held=[attempt.token]))
    await floor.check(times=1)
    floor.view.hear(heartbeat(gone=True))
    await floor.check(times=1)
    assert await floor.store.states() == ["queued"]


async def test_nothing_is_lost_while_results_wait_to_be_read(floor: Floor) -> None:
    await floor.release()
    floor.broker.waiting_results = 1
    await floor.check(times=5)
    assert await floor.store.states() == ["queued"]


async def test_an_unconfirmed_attempt_is_the_relays_business(floor: Floor) -> None:
    await floor.release()
    async with floor.store.database.write() as session:
        await session.execute(update(Attempt).values(confirmed=False))
    await floor.check(times=5)
    assert await floor.store.states() == ["queued"]


async def test_an_answer_that_comes_during_a_check_counts(floor: Floor) -> None:
    [o] = await floor.release()
    await floor.check(times=1)
    answer = ResultMessage(
        task=o.task, token=o.token, model="m", sha256=o.picture_sha256, worker="w",
        outcome=Outcome.CAPTIONED, text="a cat",
    )  # fmt: skip
    await floor.results.take(FakeAnswer(answer.encode()))
    await floor.results.write_some()
    await floor.check(times=1)
    assert await floor.store.states() == ["captioned"]


async def test_the_third_attempt_lost_while_running_fails_the_task(floor: Floor) -> None:
    assert [(await floor.one_lost()).losses for _ in range(2)] == [1, 2]
    task = await floor.one_lost()
    assert (task.state, task.error_code) == ("failed", "lost")
    assert "3 attempts were lost" in str(task.error_message)


async def test_attempts_that_nobody_ran_are_released_for_ever(floor: Floor) -> None:
    for _ in range(5):
        await floor.release()
        await floor.check()
    [task] = await floor.store.tasks()
    assert (task.state, task.losses, task.attempts) == ("pending", 0, 5)


async def test_a_suspect_is_released_again_to_the_suspect_lane(floor: Floor) -> None:
    async with floor.store.database.write() as session:
        await session.execute(update(Task).values(lane="suspect"))
    await floor.release()
    await floor.check()
    [task] = await floor.store.tasks()
    assert (task.state, task.lane) == ("pending", "suspect")


async def test_a_new_connection_begins_with_no_suspicion(floor: Floor) -> None:
    await floor.release()
    await floor.sweeper.step()
    floor.sweeper._session = None  # as if the link had connected anew
    await floor.sweeper.step()
    assert await floor.store.states() == ["queued"]
    await floor.sweeper.step()
    assert await floor.store.states() == ["pending"]
