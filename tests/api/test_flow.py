"""The whole flow on a real RabbitMQ, with a scripted worker at the other end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.api.flow_parts import Store, catalog_of, open_store
from tests.api.scripted_worker import ScriptedWorker, captioned, working
from tests.conftest import eventually

from captionfleet.broker.link import Delivery, Session
from captionfleet.broker.names import Names
from captionfleet.catalog import FolderCatalog
from captionfleet.messages import Cancellation, Demand, Outcome, ResultMessage, TaskMessage
from captionfleet_api.jobs import ending
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.flow import Flow
from captionfleet_api.jobs.overrides import Overrides
from captionfleet_api.settings import ApiSettings
from captionfleet_api.store.tables import Attempt, JobState


@dataclass
class Api:
    """Everything of an api that tasks flow through."""

    store: Store
    catalog: FolderCatalog
    changes: Changes
    view: FleetView
    flow: Flow

    async def submit(self, *pictures: str, models: tuple[str, ...] = ("m",)) -> str:
        job = await self.store.submit([p.encode() for p in pictures], models)
        self.changes.tell([job], models)
        return job

    async def finished(self, job: str) -> None:
        async def completed() -> bool:
            return (await self.store.job(job)).state == JobState.COMPLETED

        await eventually(completed)


@asynccontextmanager
async def running_api(folder: Path, url: str, names: Names, **settings: Any) -> AsyncIterator[Api]:
    folder.mkdir(exist_ok=True)
    given: dict[str, Any] = {"RABBITMQ_URL": url, "fleet": names.fleet, "data": folder, **settings}
    async with open_store(folder, settings.get("database_url")) as store:
        catalog, changes, view = catalog_of(folder, "m", "n"), Changes(), FleetView()
        overrides = Overrides(store.database, view)
        flow = Flow(
            ApiSettings(**given), store.database, changes, view, catalog, store.blobs, overrides
        )
        life = asyncio.create_task(flow.run())
        try:
            yield Api(store, catalog, changes, view, flow)
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)


@pytest.fixture
async def api(tmp_path: Path, broker_url: str, names: Names) -> AsyncIterator[Api]:
    async with running_api(tmp_path, broker_url, names) as api:
        yield api


@pytest.fixture
def worker(broker_url: str, names: Names) -> ScriptedWorker:
    return ScriptedWorker(broker_url, names, ("m", "n"))


def pictures(count: int, mark: str = "") -> list[str]:
    return [f"picture {mark}{number}" for number in range(count)]


async def all_true(api: Api, job: str) -> bool:
    """Every task of the job has the caption of its own picture by its own model."""
    tasks = await api.store.tasks(job)
    return all(t.caption == f"{t.model} sees {t.picture_sha256} " for t in tasks)


async def test_captions_come_back_to_their_pictures(api: Api, worker: ScriptedWorker) -> None:
    async with working(worker):
        job = await api.submit(*pictures(60), models=("m", "n"))
        await api.finished(job)
    assert await all_true(api, job)
    assert len(worker.seen) == 120


async def test_the_same_picture_twice_is_computed_once(api: Api, worker: ScriptedWorker) -> None:
    async with working(worker):
        job = await api.submit("cat", "cat", "dog")
        await api.finished(job)
    assert await all_true(api, job)
    assert len(worker.seen) == 2
    assert [task.cached for task in await api.store.tasks(job)] == [False, True, False]


async def test_tasks_wait_with_a_reason_until_the_operator_has_been_there(
    api: Api, worker: ScriptedWorker
) -> None:
    job = await api.submit("cat")
    await eventually(lambda: "is the operator running?" in api.flow.trouble)
    assert "is the operator running?" in api.view.waiting_sentence("m")
    async with working(worker):
        await api.finished(job)
    assert api.flow.trouble == ""


async def test_a_worker_that_dies_holding_tasks_loses_none(
    api: Api, broker_url: str, names: Names
) -> None:
    silent = ScriptedWorker(broker_url, names, ("m",), answer=lambda *_: [])
    async with working(silent):
        job = await api.submit(*pictures(30))
        await eventually(lambda: len(silent.held) == 8)
    careful = ScriptedWorker(broker_url, names, ("m",), answer=suspicious)
    async with working(careful):
        await api.finished(job)
    assert await all_true(api, job)
    assert (await api.store.states(job)).count("captioned") == 30


async def test_every_result_sent_three_times_shows_once(
    api: Api, broker_url: str, names: Names
) -> None:
    def thrice(message: TaskMessage, _: int) -> list[ResultMessage]:
        late = captioned(message).model_copy(update={"text": "late"})
        return [captioned(message), captioned(message), late]

    async with working(ScriptedWorker(broker_url, names, ("m",), answer=thrice)):
        job = await api.submit(*pictures(30))
        await api.finished(job)
    assert await all_true(api, job)


async def test_work_handed_back_by_a_draining_worker_is_done_by_another(
    api: Api, broker_url: str, names: Names
) -> None:
    def hand_back(message: TaskMessage, _: int) -> list[ResultMessage]:
        return [captioned(message).model_copy(update={"outcome": Outcome.RETURNED})]

    draining = ScriptedWorker(broker_url, names, ("m",), answer=hand_back)
    async with working(draining):
        job = await api.submit(*pictures(5))
        await eventually(lambda: len(draining.seen) > 10)
    async with working(ScriptedWorker(broker_url, names, ("m",))):
        await api.finished(job)
    assert await all_true(api, job)
    assert {task.lane for task in await api.store.tasks(job)} == {"model"}


async def test_an_api_that_starts_again_goes_on_where_it_stopped(
    tmp_path: Path, broker_url: str, names: Names
) -> None:
    keeping = ScriptedWorker(broker_url, names, ("m",), answer=lambda *_: [])
    async with working(keeping):
        async with running_api(tmp_path, broker_url, names) as api:
            job = await api.submit(*pictures(10))
            await eventually(lambda: len(keeping.held) == 8)
        keeping.answer = lambda message, _: [captioned(message)]
        for message in [m for m in keeping.seen if m.token in keeping.held]:
            await keeping.finish(message, captioned(message))
        async with running_api(tmp_path, broker_url, names) as api:
            await api.finished(job)
            assert await all_true(api, job)
    assert len({message.token for message in keeping.seen}) == 10


async def test_tasks_lost_with_the_brokers_memory_are_released_again(
    tmp_path: Path, broker_url: str, names: Names, session: Session
) -> None:
    worker = ScriptedWorker(broker_url, names, ("m",), answer=lambda *_: [])
    async with running_api(tmp_path, broker_url, names, sweep_seconds=0.5) as api:
        async with working(worker):
            job = await api.submit(*pictures(10))
            await eventually(lambda: len(worker.held) == 8)
        async with session.channel() as channel:
            await channel.queue_delete(names.model_queue("m"))
        async with working(ScriptedWorker(broker_url, names, ("m",))) as healthy:
            await api.finished(job)
            assert await all_true(api, job)
    old = {message.token for message in worker.seen}
    assert not old & {message.token for message in healthy.seen}


async def test_two_apis_of_one_fleet_get_their_own_captions_and_add_their_demand(
    tmp_path: Path, broker_url: str, names: Names, worker: ScriptedWorker, session: Session
) -> None:
    demands: dict[str, int] = {}

    async def hear(delivery: Delivery) -> None:
        demand = Demand.model_validate_json(delivery.body)
        demands[demand.backend] = sum(model.total for model in demand.models.values())

    await session.listen(names.demand, names.listen_queue(names.demand, "test", "1"), "", hear)
    queues = [f"{names.results}.one", f"{names.results}.two"]
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(
                running_api(tmp_path / queue[-3:], broker_url, names, SERVER_QUEUE=queue)
            )
            for queue in queues
        ]
        first = await one.submit(*pictures(20, "of one "))
        second = await two.submit(*pictures(30, "of two "))
        await eventually(lambda: demands == {queues[0]: 20, queues[1]: 30})
        await stack.enter_async_context(working(worker))
        await asyncio.gather(one.finished(first), two.finished(second))
        assert await all_true(one, first)
        assert await all_true(two, second)
    assert {message.reply_to for message in worker.seen} == set(queues)


async def test_two_fleets_on_one_broker_have_no_contact(
    tmp_path: Path, broker_url: str, names: Names, worker: ScriptedWorker
) -> None:
    others = Names(f"{names.fleet}-other")
    elsewhere = ScriptedWorker(broker_url, others, ("m",))
    async with (
        running_api(tmp_path / "here", broker_url, names) as here,
        running_api(tmp_path / "there", broker_url, others) as there,
        working(worker),
    ):
        job = await here.submit(*pictures(10))
        alone = await there.submit("cat")
        await here.finished(job)
        assert await there.store.states(alone) == ["pending"]
        async with working(elsewhere):
            await there.finished(alone)
        assert [w.id for w in here.view.workers()] == [worker.id]
    assert len(elsewhere.seen) == 1


async def test_the_running_tasks_are_those_that_a_heartbeat_names(
    api: Api, broker_url: str, names: Names
) -> None:
    keeping = ScriptedWorker(broker_url, names, ("m",), answer=lambda *_: [])
    async with working(keeping):
        await api.submit("cat")
        await eventually(lambda: api.view.running_tokens())
        await eventually(lambda: [c.in_flight for w in api.view.workers() for c in w.copies] == [1])

        async def seen_running() -> bool:
            return [a.seen_running for a in await api.store.rows(Attempt)] == [True]

        await eventually(seen_running)


@pytest.mark.parametrize("end", [ending.cancel, ending.delete_job])
async def test_workers_are_told_what_nobody_waits_for_any_more(
    end: Callable[..., Awaitable[frozenset[str]]], api: Api, broker_url: str, names: Names,
    session: Session,
) -> None:  # fmt: skip
    told: list[frozenset[str]] = []

    async def hear(delivery: Delivery) -> None:
        told.append(Cancellation.model_validate_json(delivery.body).tokens)

    queue = names.listen_queue(names.cancellations, "test", "1")
    await session.listen(names.cancellations, queue, "", hear)
    keeping = ScriptedWorker(broker_url, names, ("m",), answer=lambda *_: [])
    async with working(keeping):
        job = await api.submit("cat", "dog")
        await eventually(lambda: len(keeping.seen) == 2)
        await api.flow.recall(await end(api.store.database, api.changes, job))
        await eventually(lambda: told)
    assert told == [{message.token for message in keeping.seen}]


async def test_tasks_of_a_deleted_model_wait_and_then_fail(
    tmp_path: Path, broker_url: str, names: Names, session: Session
) -> None:
    async with running_api(tmp_path, broker_url, names, model_deleted_seconds=2) as api:
        job = await api.submit("cat", models=("deleted",))
        await eventually(lambda: "was deleted" in api.view.waiting_sentence("deleted"))
        await api.finished(job)
        assert [task.error_code for task in await api.store.tasks(job)] == ["model_deleted"]


async def test_a_results_queue_that_somebody_deleted_is_made_again(
    tmp_path: Path, broker_url: str, names: Names, worker: ScriptedWorker, session: Session
) -> None:
    queue = f"{names.results}.mine"
    async with running_api(tmp_path, broker_url, names, SERVER_QUEUE=queue) as api:
        await eventually(lambda: api.flow.trouble == "")
        async with session.channel() as channel:
            await channel.queue_delete(queue)

        async def made_again() -> bool:
            return await session.ready_count(queue) is not None

        await eventually(made_again)
        async with working(worker):
            await api.finished(await api.submit("cat"))


def suspicious(message: TaskMessage, deliveries: int) -> list[ResultMessage]:
    """What the rule for crashed batches demands: a redelivery is answered as a suspect."""
    result = captioned(message)
    return [result.model_copy(update={"outcome": Outcome.SUSPECT}) if deliveries else result]
