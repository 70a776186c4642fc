"""Nothing lost, nothing twice, nothing crossed, whatever goes wrong in whatever order.

Each seed is one long story of work and mishaps; a failure says which steps led to it.
"""

import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from tests.api.fake_broker import Fate
from tests.api.scripted_worker import captioned
from tests.api.small_world import MODELS, POISON, Deaths, Died, World

from captionfleet.messages import Outcome, TaskMessage
from captionfleet_api.jobs import publisher as publisher_module
from captionfleet_api.jobs import results as results_module
from captionfleet_api.jobs.sweeper import MOST_LOSSES
from captionfleet_api.store.tables import OPEN_STATES, Attempt, Job, JobState, Task, TaskState

PICTURES = [b"cat", b"dog", b"cow", b"car", b"cup", b"cap", POISON]
FATES = [Fate.TAKEN] * 8 + list(Fate)
OUTCOMES = [Outcome.CAPTIONED] * 6 + list(Outcome)
PUBLISHING = ["relay: after commit, before publish", "relay: after publish, before confirm"]
RECORDING = ["relay: after confirm"]
WRITING = ["results: before commit", "results: after commit, before ack"]
STEPS = 120
Happening = Callable[[], Awaitable[None]]


@dataclass
class Story:
    """What happens to one world, by chance."""

    world: World
    deaths: Deaths
    chance: random.Random
    told: list[str] = field(default_factory=list)
    ended: dict[str, tuple[str, str | None, str | None]] = field(default_factory=dict)

    async def unfold(self) -> None:
        for _ in range(STEPS):
            often, seldom = self.work(), self.mishaps()
            happening = self.chance.choice(often if self.chance.random() < 0.8 else seldom)
            self.told.append(happening.__name__)
            await self.survive(happening)
            await self.the_database_tells_the_truth()

    async def survive(self, happening: Happening) -> None:
        """If the api dies of it, start the next one."""
        try:
            await happening()
        except Died as death:
            self.told.append(f"dies: {death}")
            self.world.start_api()
        self.deaths.armed = None

    def work(self) -> list[Happening]:
        """What there is to do now."""
        world = self.world
        possible: list[tuple[object, Happening]] = [
            (True, self.tasks_are_released),
            (world.room_for_jobs(), self.a_job_comes),
            (world.has_to_publish(), self.tasks_are_published),
            (world.has_to_record(), self.publishes_are_recorded),
            (world.has_to_repair(), self.unconfirmed_attempts_are_published_again),
            (world.ready(), self.a_worker_takes_tasks),
            (world.held, self.a_worker_answers),
            (world.results_queue, self.results_are_written),
        ]
        return [happening for can_be, happening in possible if can_be]

    def mishaps(self) -> list[Happening]:
        world = self.world
        possible: list[tuple[object, Happening]] = [
            (True, self.the_api_starts_again),
            (True, self.the_sweeper_looks),
            (world.held, self.workers_die_perhaps_after_an_answer),
            (world.broker.published, self.an_answer_goes_astray),
            (world.broker.published, self.an_old_answer_turns_up),
            (self.chance.random() < 0.2, self.the_broker_is_wiped),
        ]
        return [happening for can_be, happening in possible if can_be]

    async def a_job_comes(self) -> None:
        pictures = self.chance.choices(PICTURES, k=self.chance.randint(1, 5))
        await self.world.store.submit(pictures, self.chance.choice([["m"], MODELS]))

    async def tasks_are_released(self) -> None:
        await self.world.heartbeats()
        await self.world.relay.release(MODELS)

    async def tasks_are_published(self) -> None:
        for _ in range(self.chance.randint(1, 5)):
            if self.world.has_to_publish():
                self.world.broker.fates.append(self.chance.choice(FATES))
                self.may_die_at(PUBLISHING)
                await self.world.publisher.lane()

    async def publishes_are_recorded(self) -> None:
        self.may_die_at(RECORDING)
        await self.world.publisher.record_some()

    async def unconfirmed_attempts_are_published_again(self) -> None:
        await self.world.publisher.repair()

    async def a_worker_takes_tasks(self) -> None:
        for _ in range(min(4, len(self.world.ready()))):
            self.world.take(self.chance.randrange(1000))

    async def a_worker_answers(self) -> None:
        for _ in range(self.chance.randint(1, 3)):
            if self.world.held:
                self.world.finish(self.chance.randrange(1000), self.chance.choice(OUTCOMES))

    async def results_are_written(self) -> None:
        self.may_die_at(WRITING)
        await self.world.read_results(self.chance.randrange(1000), self.chance.randint(1, 6))

    async def the_api_starts_again(self) -> None:
        self.world.start_api()

    async def the_sweeper_looks(self) -> None:
        """With no word from the workers for long, or just after they were heard."""
        self.world.now += 30
        if self.chance.random() < 0.7:
            await self.world.heartbeats()
        await self.world.sweep()

    async def workers_die_perhaps_after_an_answer(self) -> None:
        message = self.chance.choice(self.world.held).message
        if self.chance.random() < 0.5 and message.picture != POISON:
            self.world.answer(message, Outcome.CAPTIONED)
        self.world.kill_workers()

    async def an_answer_goes_astray(self) -> None:
        """The right caption of one picture under the token of another task."""
        asked, crossed = self.an_old_message(), self.an_old_message()
        if (asked.sha256, asked.model) != (crossed.sha256, crossed.model):
            forged = {"token": asked.token, "task": asked.task}
            self.world.results_queue.append(captioned(crossed).model_copy(update=forged).encode())

    async def an_old_answer_turns_up(self) -> None:
        """Whatever was once asked may be answered late, and again."""
        message = self.an_old_message()
        if message.picture != POISON:
            self.world.answer(message, self.chance.choice(list(Outcome)), "model_error")

    async def the_broker_is_wiped(self) -> None:
        self.world.wipe_broker()

    def an_old_message(self) -> TaskMessage:
        return self.chance.choice(self.world.broker.published)

    def may_die_at(self, points: list[str]) -> None:
        self.deaths.armed = self.chance.choice(points) if self.chance.random() < 0.3 else None

    async def the_database_tells_the_truth(self) -> None:
        tasks: list[Task] = await self.world.store.rows(Task)
        attempts: list[Attempt] = await self.world.store.rows(Attempt)
        self.captions_are_true_and_final(tasks)
        self.what_was_acked_is_written(tasks, attempts)
        out = sorted(task.id for task in tasks if task.state == TaskState.QUEUED)
        assert out == sorted(a.task for a in attempts if not a.ended), self.told

    def captions_are_true_and_final(self, tasks: list[Task]) -> None:
        for task in tasks:
            if task.state == TaskState.CAPTIONED:
                assert task.caption == f"{task.model} sees {task.picture_sha256} ", self.told
            shown = (task.state, task.caption, task.error_code)
            if task.state not in OPEN_STATES or task.id in self.ended:
                assert self.ended.setdefault(task.id, shown) == shown, self.told

    def what_was_acked_is_written(self, tasks: list[Task], attempts: list[Attempt]) -> None:
        asked = {task.id: task for task in tasks}
        under = {attempt.token: asked[attempt.task] for attempt in attempts}
        for result in self.world.acked:
            task = under.get(result.token)
            if task and result.outcome in (Outcome.CAPTIONED, Outcome.FAILED):
                right = (task.id, task.model, task.picture_sha256)
                if (result.task, result.model, result.sha256) == right:
                    assert task.state not in OPEN_STATES, self.told

    async def all_is_well_that_ends(self) -> None:
        """Everything ended, and nothing was given up before its time."""
        await self.the_database_tells_the_truth()
        for task in await self.world.store.rows(Task):
            if task.error_code == "lost":
                assert task.losses >= MOST_LOSSES, self.told
        assert all(job.state == JobState.COMPLETED for job in await self.world.store.rows(Job))


@pytest.mark.parametrize("seed", range(8))
async def test_every_task_ends_once_with_the_caption_of_its_own_picture(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths = Deaths()
    for module in (publisher_module, results_module):
        monkeypatch.setattr(module, "fault_point", deaths)
    monkeypatch.setattr(publisher_module, "_PAUSE_WHEN_UNSURE", 0)
    async with AsyncExitStack() as stack:
        story = Story(await World.begin(stack), deaths, random.Random(seed))
        await story.unfold()
        await story.world.settle()
        await story.all_is_well_that_ends()
