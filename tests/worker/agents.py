"""An agent that runs for the length of a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.worker.stand_ins import Workshop

from captionfleet_worker.agent import Agent
from captionfleet_worker.device import Device
from captionfleet_worker.fetcher import Fetching
from captionfleet_worker.settings import WorkerSettings


@asynccontextmanager
async def working(
    settings: WorkerSettings, workshop: Workshop, fetcher: Fetching | None = None
) -> AsyncIterator[Agent]:
    agent = Agent(settings, Device("CPU"), workshop.start, workshop.expect, fetcher or workshop)
    running = asyncio.create_task(agent.run())
    yield agent
    if not agent._stop.is_set():  # asked twice, it would end at once
        agent.stop()
    await running
