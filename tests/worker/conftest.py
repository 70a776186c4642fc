"""Fixtures of the worker's tests: a link, the api's end, and a worker's copy with a stand-in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.conftest import eventually
from tests.worker.agents import working
from tests.worker.stand_ins import Api, Desk, Operator, Workshop, wanted

from captionfleet.broker.link import Link, Session
from captionfleet.broker.names import Names
from captionfleet_worker.agent import Agent
from captionfleet_worker.batch_size import Known
from captionfleet_worker.cancelled import Cancelled
from captionfleet_worker.device import processor
from captionfleet_worker.learning import KeptSizes, about
from captionfleet_worker.live_copy import LiveCopy, Workplace
from captionfleet_worker.metrics import Meters
from captionfleet_worker.settings import WorkerSettings
from captionfleet_worker.slots import Slots


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[Link]:
    """A running link."""

    async def set_up(_: Session) -> None:
        return None

    link = Link(url, "test worker", set_up)
    running = asyncio.create_task(link.run())
    await link.connected()
    yield link
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def link(broker_url: str, session: Session) -> AsyncIterator[Link]:
    async with linked(broker_url) as link:
        yield link


@pytest.fixture
async def desk(broker_url: str, session: Session, names: Names) -> AsyncIterator[Desk]:
    async with linked(broker_url) as own:
        desk = Desk(own, session, names, "m")
        await desk.open()
        yield desk


@pytest.fixture
async def api(desk: Desk) -> Api:
    api = Api(desk.link, desk.session, desk.names, desk.model)
    await api.open()
    return api


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
def kept_sizes(tmp_path: Path) -> KeptSizes:
    """The stand-in is known to be best in full batches: other tests need not watch it learn."""
    kept = KeptSizes(tmp_path / "data" / "batch-sizes")
    known = Known(rates={1: 1, 2: 2, 4: 4}, batches={1: 2, 2: 2, 4: 2}, chosen=4)
    kept.write(about("revision-1", processor(), 1), known)
    return kept


@pytest.fixture
def place(
    link: Link, names: Names, workshop: Workshop, kept_sizes: KeptSizes, tmp_path: Path
) -> Workplace:
    return Workplace(
        worker="w1", names=names, link=link, meters=Meters(), device="cpu", threads=1,
        custom_infer=tmp_path, cache=None, rooms=tmp_path / "rooms", logs=tmp_path,
        start_engine=workshop.start, expect=workshop.expect, loads=Slots(), restarts=Slots(),
        changed=lambda: None, supply=workshop.supply, cancelled=Cancelled(),
        kept_sizes=kept_sizes, free_bytes=_not_measured, device_name=processor(),
    )  # fmt: skip


async def _not_measured() -> None:
    """Stand-in engines take no memory."""


@pytest.fixture
async def copy(place: Workplace) -> AsyncIterator[LiveCopy]:
    copy = LiveCopy("m", wanted(), None, place)
    yield copy
    await copy.unload()


@pytest.fixture
async def operator(broker_url: str, session: Session, names: Names) -> AsyncIterator[Operator]:
    async with linked(broker_url) as own:
        operator = Operator(own, session, names)
        await operator.open()
        yield operator


@pytest.fixture
def settings(
    broker_url: str, names: Names, kept_sizes: KeptSizes, tmp_path: Path
) -> WorkerSettings:
    (tmp_path / "custom_infer").mkdir()
    return WorkerSettings(
        RABBITMQ_URL=broker_url, fleet=names.fleet, pool="p", worker="w1", metrics_port=0,
        data=tmp_path / "data", custom_infer=tmp_path / "custom_infer", device="CPU",
        threads=1,
    )  # fmt: skip


@pytest.fixture
async def agent(
    settings: WorkerSettings, workshop: Workshop, operator: Operator
) -> AsyncIterator[Agent]:
    async with working(settings, workshop) as agent:
        await eventually(lambda: operator.heartbeats, what="a first heartbeat")
        yield agent
