"""Fixtures of the operator's service tests."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
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
