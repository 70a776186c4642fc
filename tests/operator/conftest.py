"""Fixtures of the operator's service tests."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cluster.clusters import Cluster
from tests.operator.cluster_stage import Stage
from tests.operator.running import Ear, RunningOperator

from captionfleet.broker.link import Link, Session
from captionfleet.broker.names import Names
from captionfleet.broker.topology import declare_exchanges


@pytest.fixture
async def operator(tmp_path: Path, broker_url: str, names: Names) -> AsyncIterator[RunningOperator]:
    """An operator that is not started yet, on an empty folder and a fleet of its own."""
    ear = Ear(names)

    async def setup(session: Session) -> None:
        await declare_exchanges(session, names)
        await ear.setup(session)

    link = Link(broker_url, "test", setup)
    operator = RunningOperator(tmp_path, broker_url, names, ear, link)
    running = [asyncio.create_task(each) for each in (link.run(), operator.demand_for_ever())]
    await link.connected()
    yield operator
    operator.clean_up()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


@pytest.fixture
async def stage(
    tmp_path: Path, control_plane: Cluster, namespace: str, broker_url: str, names: Names
) -> AsyncIterator[Stage]:
    """A fleet in a namespace of its own, with no operator yet."""
    ear = Ear(names)

    async def setup(session: Session) -> None:
        await declare_exchanges(session, names)
        await ear.setup(session)

    link = Link(broker_url, "test", setup)
    stage = Stage(tmp_path, control_plane, namespace, broker_url, names, ear, link)
    linked = asyncio.create_task(link.run())
    await link.connected()
    demanding = asyncio.create_task(stage.demand_for_ever())
    yield stage
    stage.clean_up()
    for task in (demanding, linked):
        task.cancel()
    await asyncio.gather(demanding, linked, return_exceptions=True)
