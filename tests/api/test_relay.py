"""The relay releases in fair order, within the window, and never forgets an attempt."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.api.fake_broker import FakeBroker, Fate
from tests.api.flow_parts import (
    Store,
    catalog_of,
    copy_of,
    counted,
    heartbeat,
    open_store,
    sha256_of,
)
from tests.conftest import eventually

from captionfleet.broker.names import Names
from captionfleet.catalog import FolderCatalog
from captionfleet.messages import Copy
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.claims import Question, choose
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.holds import Holds
from captionfleet_api.jobs.known_captions import key_of, question_of
from captionfleet_api.jobs.loops import keep_going
from captionfleet_api.jobs.publisher import Publisher
from captionfleet_api.jobs.relay import Relay
from captionfleet_api.jobs.release_window import Room
from captionfleet_api.store.tables import Attempt, KnownCaption, Lane, Priority, Task, TaskState

NAMES = Names("test")


@dataclass
class Bench:
    """A relay on a real database and a broker in memory."""

    store: Store
    catalog: FolderCatalog
    view: FleetView = field(default_factory=FleetView)
    broker: FakeBroker = field(default_factory=lambda: FakeBroker(NAMES))
    running: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin, or begin again as after a crash: nothing is kept but database and broker."""
        self.stop()
        holds, changes = Holds(), Changes()
        self.publisher = Publisher(
            self.broker, NAMES, "results", self.store.database, self.store.blobs, changes, holds
        )
        self.relay = Relay(
            self.store.database, self.catalog, self.view, self.publisher, holds, changes
        )
        self.publisher.connected_anew()
        steps = (self.publisher.record_some, self.publisher.repair, self.publisher.lane)
        self.running = [
            asyncio.create_task(keep_going("test", step, lambda *_: None)) for step in steps
        ]

    def stop(self) -> None:
        for task in self.running:
            task.cancel()

    async def consumers(self, *copies: Copy) -> None:
        self.view.hear(heartbeat(*copies))
        await self.relay.release({copy.model for copy in copies})

    async def attempts(self) -> list[Attempt]:
        return await self.store.rows(Attempt)

    async def all_confirmed(self) -> bool:
        return all(attempt.confirmed or attempt.ended for attempt in await self.attempts())


@pytest.fixture
async def bench(tmp_path: Path, database_url: str) -> AsyncIterator[Bench]:
    async with open_store(tmp_path, database_url) as store:
        bench = Bench(store, catalog_of(tmp_path, "m", "n"))
        yield bench
        bench.stop()
        await asyncio.gather(*bench.running, return_exceptions=True)


def pictures(count: int, mark: str = "") -> list[bytes]:
    return [f"picture {mark}{number}".encode() for number in range(count)]


questions = st.builds(Question, st.sampled_from("abcdef"), st.just(""), st.just("{}"))
pending = st.builds(
    Task, lane=st.sampled_from(Lane), picture_size=st.integers(1, 10), model=st.just("m")
)
rooms = st.builds(Room, st.integers(0, 5), st.integers(0, 3), st.integers(0, 40))


@given(st.lists(st.tuples(pending, questions)), st.sets(questions), rooms)
def test_what_is_chosen_fits_and_asks_no_question_twice(
    candidates: list[tuple[Task, Question]], busy: set[Question], left: Room
) -> None:
    asked = {id(task): question for task, question in candidates}
    chosen = choose(candidates, busy, left)
    lanes = [task.lane for task in chosen]
    assert lanes.count(Lane.SUSPECT) <= left.suspects
    assert lanes.count(Lane.MODEL) <= left.pictures
    assert sum(task.picture_size for task in chosen) <= left.picture_bytes
    new = [asked[id(task)] for task in chosen]
    assert len(set(new)) == len(new)
    assert not busy & set(new)


async def test_nothing_leaves_the_database_while_nobody_consumes(bench: Bench) -> None:
    await bench.store.submit(pictures(3))
    await bench.relay.release({"m"})
    assert await bench.store.states() == ["pending"] * 3


async def test_a_window_is_filled_and_no_more(bench: Bench) -> None:
    await bench.store.submit(pictures(40))
    await bench.consumers(copy_of("m", rates={2: 10.0}))
    await eventually(lambda: len(bench.broker.published) == 20)
    await bench.relay.release({"m"})
    assert (await bench.store.states()).count("queued") == 20


async def test_two_releases_at_once_do_not_fill_the_window_twice(bench: Bench) -> None:
    await bench.store.submit(pictures(60))
    bench.view.hear(heartbeat(copy_of("m", rates={2: 10.0})))
    await asyncio.gather(*(bench.relay.release({"m"}) for _ in range(4)))
    assert (await bench.store.states()).count("queued") == 20


async def test_a_message_carries_the_task_and_its_picture(bench: Bench) -> None:
    await bench.store.submit([b"a cat"], prompts=["what?"], options={"max_new_tokens": 9})
    await bench.consumers(copy_of("m"))
    await eventually(lambda: bench.broker.published)
    message = bench.broker.published[0]
    [task], [attempt] = await bench.store.tasks(), await bench.attempts()
    assert (message.task, message.token, message.model) == (task.id, attempt.token, "m")
    assert (message.picture, message.sha256) == (b"a cat", sha256_of(b"a cat"))
    assert (message.prompt, message.options) == ("what?", {"max_new_tokens": 9})
    assert message.reply_to == "results"


async def test_interactive_pictures_overtake_a_batch_and_age_decides_the_rest(
    bench: Bench,
) -> None:
    await bench.store.submit(pictures(4, "slow"), priority=Priority.BATCH)
    await bench.store.submit(pictures(3, "first"))
    await bench.store.submit(pictures(3, "second"))
    await bench.consumers(copy_of("m", rates={1: 1.0}, max_batch_size=2))
    await eventually(lambda: len(bench.broker.published) == 6)
    expected = pictures(3, "first") + pictures(3, "second")
    assert [message.picture for message in bench.broker.published] == expected


async def test_the_window_of_one_model_does_not_hold_up_another(bench: Bench) -> None:
    await bench.store.submit(pictures(30), models=["m", "n"])
    await bench.consumers(copy_of("m"), copy_of("n", rates={1: 1.0}, max_batch_size=1))
    await eventually(lambda: len(bench.broker.published) == 23)
    released = [message.model for message in bench.broker.published]
    assert (released.count("m"), released.count("n")) == (20, 3)


async def test_large_pictures_fill_the_window_by_their_bytes(bench: Bench) -> None:
    job = await bench.store.submit(pictures(5))
    async with bench.store.database.write() as session:
        for task in await bench.store.tasks(job):
            (await session.get_one(Task, task.id)).picture_size = 30_000_000
    await bench.consumers(copy_of("m"))
    assert (await bench.store.states()).count("queued") == 2


async def test_an_unconfirmed_attempt_is_published_again_with_the_same_token(
    bench: Bench,
) -> None:
    await bench.store.submit(pictures(3))
    bench.broker.fates.extend([Fate.TAKEN_UNCONFIRMED, Fate.LOST])
    await bench.consumers(copy_of("m"))
    await eventually(lambda: len(bench.broker.published) == 5)
    await eventually(bench.all_confirmed)
    assert len(await bench.attempts()) == 3
    assert len({message.token for message in bench.broker.published}) == 3


async def test_what_a_dead_api_left_unconfirmed_is_published_at_the_next_start(
    bench: Bench,
) -> None:
    await bench.store.submit(pictures(3))
    bench.stop()
    await bench.consumers(copy_of("m"))
    assert not bench.broker.published
    before = counted("captionfleet_republished_total", model="m")
    with capture_logs() as logs:
        bench.start()
        await eventually(lambda: len(bench.broker.published) == 3)
    assert counted("captionfleet_republished_total", model="m") == before + 3
    assert {
        "event": "attempts are published again", "log_level": "info", "model": "m", "attempts": 3,
    } in logs  # fmt: skip
    tokens = {attempt.token for attempt in await bench.attempts()}
    assert {message.token for message in bench.broker.published} == tokens


async def test_a_missing_queue_puts_tasks_back_without_a_loss(bench: Bench) -> None:
    await bench.store.submit(pictures(2))
    bench.broker.fates.extend([Fate.NO_QUEUE] * 2)
    await bench.consumers(copy_of("m"))

    async def both_back() -> bool:
        return await bench.store.states() == ["pending"] * 2

    await eventually(both_back)
    assert [task.losses for task in await bench.store.tasks()] == [0, 0]
    assert all(attempt.ended for attempt in await bench.attempts())


async def test_suspects_go_alone_into_their_own_lane_one_per_consumer(bench: Bench) -> None:
    job = await bench.store.submit(pictures(5))
    async with bench.store.database.write() as session:
        for task in (await bench.store.tasks(job))[:3]:
            (await session.get_one(Task, task.id)).lane = Lane.SUSPECT
    await bench.consumers(copy_of("m"))
    await eventually(lambda: len(bench.broker.published) == 3)
    assert len(bench.broker.queues[NAMES.suspect_queue("m")]) == 1
    assert len(bench.broker.queues[NAMES.model_queue("m")]) == 2


async def test_the_same_question_is_asked_once(bench: Bench) -> None:
    await bench.store.submit([b"same", b"same", b"other"])
    await bench.consumers(copy_of("m"))
    await eventually(lambda: len(bench.broker.published) == 2)
    assert await bench.store.states() == ["queued", "pending", "queued"]


async def test_an_answer_known_by_now_is_filled_in_instead_of_released(bench: Bench) -> None:
    job = await bench.store.submit([b"seen", b"new"])
    async with bench.store.database.write() as session:
        key = key_of(sha256_of(b"seen"), question_of("m", "r1", "", {}))
        session.add(KnownCaption(key=key, caption="a cat", revision="r1", created_at=0))
    await bench.consumers(copy_of("m", revision="r1"))
    seen, new = await bench.store.tasks(job)
    assert (seen.state, seen.caption, seen.cached) == (TaskState.CAPTIONED, "a cat", True)
    assert new.state == TaskState.QUEUED


async def test_a_picture_that_is_gone_fails_its_task_alone(bench: Bench) -> None:
    await bench.store.submit([b"kept", b"gone"])
    await bench.store.blobs.delete(sha256_of(b"gone"))
    await bench.consumers(copy_of("m"))

    async def failed() -> bool:
        return await bench.store.states() == ["queued", "failed"]

    await eventually(failed)
    assert (await bench.store.tasks())[1].error_code == "bad_picture"


async def test_a_model_that_left_the_catalog_is_not_released(bench: Bench) -> None:
    await bench.store.submit(pictures(1), models=["deleted"])
    await bench.consumers(copy_of("deleted"))
    assert await bench.store.states() == ["pending"]


async def test_every_release_numbers_the_changes_for_event_streams(bench: Bench) -> None:
    await bench.store.submit(pictures(3))
    await bench.consumers(copy_of("m"))
    assert [task.changed for task in await bench.store.tasks()] == [1, 2, 3]
