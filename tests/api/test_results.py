"""Results: the first terminal state wins, and only answers to what was asked count."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from tests.api.fake_broker import FakeAnswer
from tests.api.flow_parts import Store, copy_of, counted, open_store

from captionfleet.ids import new_id
from captionfleet.messages import Outcome, ResultMessage
from captionfleet_api.jobs import results as results_module
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.claims import claim, ensure_lock
from captionfleet_api.jobs.judging import Asked, Verdict, judge, storable
from captionfleet_api.jobs.release_window import window
from captionfleet_api.jobs.results import Results
from captionfleet_api.store.tables import OPEN_STATES, Attempt, JobState, Lane, Task, TaskState

states = st.sampled_from(TaskState)
outcomes = st.sampled_from(Outcome)
texts = st.none() | st.text(max_size=20)
any_results = st.builds(
    ResultMessage,
    task=st.just("t"), token=st.just("k"), model=st.just("m"), sha256=st.just("s"),
    worker=st.text(max_size=5), outcome=outcomes, text=texts, error_code=texts,
    seconds=st.none() | st.floats(), tokens=st.none() | st.integers(),
)  # fmt: skip


@given(any_results, states, st.booleans())
def test_a_terminal_task_is_never_touched_again(
    result: ResultMessage, state: TaskState, ended: bool
) -> None:
    verdict = judge(result, Asked("t", "m", "s", state, ended))
    assert (verdict is Verdict.DUPLICATE) == (state not in OPEN_STATES)


@given(any_results, states, st.booleans(), st.sampled_from(["task", "model", "sha256"]))
def test_the_answer_to_something_else_is_refused(
    result: ResultMessage, state: TaskState, ended: bool, field: str
) -> None:
    crossed = result.model_copy(update={field: "other"})
    assert judge(crossed, Asked("t", "m", "s", state, ended)) is Verdict.REFUSE
    assert judge(result, None) is Verdict.REFUSE


@given(any_results, st.booleans())
def test_any_token_answers_an_open_task_but_only_the_open_attempt_hands_it_back(
    result: ResultMessage, ended: bool
) -> None:
    verdict = judge(result, Asked("t", "m", "s", TaskState.QUEUED, ended))
    answers = result.outcome in (Outcome.CAPTIONED, Outcome.FAILED)
    assert (verdict is Verdict.ACCEPT) == answers
    assert (verdict is Verdict.PUT_BACK) == (not answers and not ended)


@given(any_results)
def test_whatever_a_worker_says_can_be_stored(result: ResultMessage) -> None:
    clean = storable(result)
    assert "\x00" not in f"{clean.text}{clean.worker}{clean.error_code}"
    assert clean.tokens is None or 0 <= clean.tokens < 2**31
    assert clean.seconds is None or 0 <= clean.seconds < float("inf")
    assert clean.outcome is not Outcome.CAPTIONED or clean.text


@dataclass
class Desk:
    """A results writer on a real database."""

    store: Store
    changes: Changes = field(default_factory=Changes)
    acked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.results = Results(self.store.database, self.changes)

    async def release(self) -> list[ResultMessage]:
        """Release all pending tasks; the good answer to each, oldest first."""
        await ensure_lock(self.store.database, "m")
        window_ = window([copy_of("m", rates={2: 100.0})])
        async with self.store.database.write() as session:
            claimed = await claim(session, "m", window_, {})
        return [
            ResultMessage(
                task=o.task, token=o.token, model=o.model, sha256=o.picture_sha256, worker="w",
                outcome=Outcome.CAPTIONED, text=f"caption of {o.picture_sha256}", seconds=0.5,
                tokens=7, finish="stop", revision="r1", fingerprint="f1",
            )
            for o in claimed.outgoing
        ]  # fmt: skip

    async def bring(self, *answers: ResultMessage | bytes) -> None:
        """Let these arrive together, and have them written."""
        for answer in answers:
            body = answer if isinstance(answer, bytes) else answer.encode()
            await self.results.take(FakeAnswer(body, lambda: self.acked.append("")))
        await self.results.write_some()

    async def only_task(self) -> Task:
        [task] = await self.store.tasks()
        return task


@pytest.fixture
async def desk(tmp_path: Path, database_url: str) -> AsyncIterator[Desk]:
    async with open_store(tmp_path, database_url) as store:
        yield Desk(store)


def changed(result: ResultMessage, **fields: Any) -> ResultMessage:
    return result.model_copy(update=fields)


def failed(result: ResultMessage, code: str) -> ResultMessage:
    return changed(result, outcome=Outcome.FAILED, text=None, error_code=code, error_message="why")


async def test_a_caption_is_written_with_all_that_is_known_of_it(desk: Desk) -> None:
    await desk.store.submit([b"cat"])
    [answer] = await desk.release()
    await desk.bring(answer)
    task = await desk.only_task()
    assert (task.state, task.caption, task.finish) == ("captioned", answer.text, "stop")
    assert (task.seconds, task.tokens, task.revision, task.worker) == (0.5, 7, "r1", "w")
    assert desk.acked == [""]


async def test_a_job_completes_with_its_last_task(desk: Desk) -> None:
    job = await desk.store.submit([b"cat", b"dog"])
    first, last = await desk.release()
    await desk.bring(first)
    assert (await desk.store.job(job)).state == JobState.RUNNING
    await desk.bring(failed(last, "timeout"))
    done = await desk.store.job(job)
    assert (done.state, bool(done.finished_at)) == (JobState.COMPLETED, True)
    assert done.changed == max(task.changed for task in await desk.store.tasks()) + 1


async def test_a_failure_keeps_its_code_and_words(desk: Desk) -> None:
    await desk.store.submit([b"cat"])
    [answer] = await desk.release()
    await desk.bring(failed(answer, "timeout"))
    task = await desk.only_task()
    assert (task.state, task.error_code, task.error_message) == ("failed", "timeout", "why")


async def test_the_first_answer_stays_however_often_others_come(desk: Desk) -> None:
    await desk.store.submit([b"cat"])
    [answer] = await desk.release()
    await desk.bring(answer, failed(answer, "timeout"), changed(answer, text="late"))
    await desk.bring(changed(answer, text="later"))
    task = await desk.only_task()
    assert (task.caption, task.error_code) == (answer.text, None)
    assert len(desk.acked) == 4


async def test_a_late_answer_after_a_cancel_changes_nothing(desk: Desk) -> None:
    await desk.store.submit([b"cat"])
    [answer] = await desk.release()
    async with desk.store.database.write() as session:
        (await session.get_one(Task, answer.task)).state = TaskState.CANCELLED
    await desk.bring(answer)
    assert (await desk.only_task()).state == "cancelled"


async def test_work_handed_back_is_released_again_under_a_further_token(desk: Desk) -> None:
    await desk.store.submit([b"cat"])
    [first] = await desk.release()
    await desk.bring(changed(first, outcome=Outcome.RETURNED))
    [second] = await desk.release()
    task = await desk.only_task()
    assert (task.state, task.lane, task.attempts, task.losses) == ("queued", "model", 2, 0)
    assert first.token != second.token


async def test_a_suspect_goes_to_the_suspect_lane(desk: Desk) -> None:
    await desk.store.submit([b"cat"])
    [answer] = await desk.release()
    await desk.bring(changed(answer, outcome=Outcome.SUSPECT))
    task = await desk.only_task()
    assert (task.state, task.lane) == ("pending", Lane.SUSPECT)
    await desk.release()
    assert [a.lane for a in await desk.store.rows(Attempt)] == ["model", "suspect"]


async def test_an_older_attempt_may_still_answer_but_not_hand_back(desk: Desk) -> None:
    await desk.store.submit([b"cat"])
    [old] = await desk.release()
    await desk.bring(changed(old, outcome=Outcome.RETURNED))
    [new] = await desk.release()
    await desk.bring(changed(old, outcome=Outcome.SUSPECT))
    assert ((await desk.only_task()).state, (await desk.only_task()).lane) == ("queued", "model")
    await desk.bring(old, new)
    assert (await desk.only_task()).caption == old.text


async def test_forged_answers_are_acked_and_change_nothing(desk: Desk) -> None:
    await desk.store.submit([b"cat"])
    [answer] = await desk.release()
    await desk.bring(
        changed(answer, token=new_id()),
        changed(answer, sha256="0" * 64),
        changed(answer, model="other"),
        changed(answer, task=new_id()),
        b"no result at all",
    )
    assert (await desk.only_task()).state == "queued"
    assert len(desk.acked) == 5


async def test_answers_without_effect_are_counted_by_what_they_are(desk: Desk) -> None:
    def discarded(model: str, verdict: str) -> float:
        return counted("captionfleet_results_discarded_total", model=model, verdict=verdict)

    kinds = [("m", "duplicate"), ("m", "refuse"), ("", "refuse"), ("", "malformed")]
    before = [discarded(*kind) for kind in kinds]
    await desk.store.submit([b"cat"])
    [answer] = await desk.release()
    await desk.bring(
        changed(answer, sha256="0" * 64),
        changed(answer, token=new_id()),
        b"no result",
        answer,
        answer,
    )
    assert [discarded(*kind) for kind in kinds] == [count + 1 for count in before]


async def test_nothing_is_acked_before_the_commit(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.store.submit([b"cat"])
    [answer] = await desk.release()
    seen: list[tuple[str, str, int]] = []

    def look(point: str) -> None:
        seen.append((point, _committed_state(desk), len(desk.acked)))

    monkeypatch.setattr(results_module, "fault_point", look)
    await desk.bring(answer)
    assert seen == [
        ("results: before commit", "queued", 0),
        ("results: after commit, before ack", "captioned", 0),
    ]
    assert desk.acked == [""]


async def test_answers_that_could_not_be_written_are_kept_and_written_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.store.submit([b"cat"])
    [answer] = await desk.release()

    def fail(point: str) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk is full"):
        patch.setattr(results_module, "fault_point", fail)
        await desk.bring(answer)
    assert ((await desk.only_task()).state, desk.acked) == ("queued", [])
    await desk.results.write_some()
    assert ((await desk.only_task()).state, desk.acked) == ("captioned", [""])


async def test_many_answers_take_few_transactions(desk: Desk) -> None:
    await desk.store.submit([f"picture {n}".encode() for n in range(150)])
    answers = await desk.release()
    for answer in answers:
        await desk.results.take(FakeAnswer(answer.encode()))
    await desk.results.write_some()
    assert (await desk.store.states()).count("captioned") == 100
    await desk.results.write_some()
    await asyncio.wait_for(desk.results.caught_up(), 5)
    assert (await desk.store.states()).count("captioned") == 150


async def test_streams_and_relay_are_told(desk: Desk) -> None:
    job = await desk.store.submit([b"cat"])
    [answer] = await desk.release()
    with desk.changes.following(job) as news:
        await desk.bring(answer)
        assert news.is_set()
    assert await desk.changes.models_woken() == {"m"}


def _committed_state(desk: Desk) -> str:
    """The task's state as another process sees it now."""
    url = desk.store.database.engine.url
    other = create_engine(url.set(drivername=url.drivername.replace("+aiosqlite", "")))
    with other.connect() as connection:
        state = connection.execute(select(Task.state)).scalar_one()
    other.dispose()
    return state
