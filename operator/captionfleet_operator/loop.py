"""Observe, plan, act: one turn after every change, and one every two seconds."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator

import structlog

from captionfleet.broker.names import Names
from captionfleet.catalog import FolderCatalog
from captionfleet.faults import fault_point
from captionfleet_operator.fleet_link import HEARTBEAT_SECONDS, FleetLink
from captionfleet_operator.hearing import Hearing
from captionfleet_operator.local.workers import GRACE_MARGIN_SECONDS, LocalWorkers
from captionfleet_operator.observe import Observer
from captionfleet_operator.planner import Memory, Plan, World, plan
from captionfleet_operator.queues import ModelQueues
from captionfleet_operator.settings import OperatorSettings
from captionfleet_operator.statuses import StaleStatuses, StatusWriter

log = structlog.get_logger()

COALESCED_SECONDS = 0.5
"""Shortest time between two turns: a burst of changes is one change."""


class Operator:
    """Runs until cancelled. Workers outlive it."""

    def __init__(self, settings: OperatorSettings) -> None:
        data = settings.data.resolve()
        names = Names(settings.fleet)
        self._catalog = FolderCatalog(settings.catalog, settings.data, settings.custom_infer)
        self._woken = asyncio.Event()
        self._hearing = Hearing(time.monotonic)
        self._link = FleetLink(settings, self._hearing, self._woken.set)
        self._queues = ModelQueues(names, data)
        self._local = LocalWorkers(settings, self._catalog.custom)
        self._observer = Observer(
            settings.fleet, self._catalog, self._hearing, self._link, self._local
        )
        self._statuses = StatusWriter(self._catalog)
        self._stale = StaleStatuses(data / "status")
        self._memory = Memory()
        self._problems: list[str] = []
        # Unix time that never runs backwards.
        self._epoch = time.time() - time.monotonic()

    async def run(self) -> None:
        self._local.adopt()
        # A worker that ends is noticed at once, not at the next tick.
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._woken.set)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run())
            tasks.create_task(self._watch())
            tasks.create_task(self._turns())

    async def _watch(self) -> None:
        while True:
            async with _step("watch the catalog"):
                async for _ in self._catalog.watch():
                    self._tell_problems()
                    self._woken.set()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _tell_problems(self) -> None:
        problems = self._catalog.problems()
        for problem in problems:
            if problem not in self._problems:
                log.warning("manifest refused", why=problem)
        self._problems = problems

    async def _turns(self) -> None:
        while True:
            self._woken.clear()
            await self._turn()
            await asyncio.sleep(COALESCED_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS - COALESCED_SECONDS):
                    await self._woken.wait()

    async def _turn(self) -> None:
        """Each step by itself: what fails is told, and tried again at the next turn."""
        now = self._epoch + time.monotonic()
        async with _step("look at the workers"):
            self._hearing.forget(self._local.look(now))
        async with _step("keep the queues"):
            if session := self._link.session:
                await self._queues.keep(session, self._catalog.models(), now)
        async with _step("plan"):
            world = self._observer.world(now, self._queues.trouble)
            decided, self._memory = plan(world, self._memory)
            await self._carry_out(world, decided)

    async def _carry_out(self, world: World, decided: Plan) -> None:
        fault_point("operator: before acting")
        async with _step("start and drain workers"):
            manifests = {name: pool.manifest for name, pool in world.pools.items()}
            self._local.act(manifests, decided.pools, world.now)
            self._local.drain(decided.orphans, GRACE_MARGIN_SECONDS + 300, world.now)
        async with _step("tell the fleet"):
            loads = {
                name: pool.manifest.spec.hosting.max_concurrent_loads
                for name, pool in world.pools.items()
            }
            await self._link.tell(decided, world.models, world.workers, loads)
        fault_point("operator: before writing status")
        async with _step("write statuses"):
            await self._statuses.write("CaptionModel", decided.model_statuses, world.now)
            await self._statuses.write("CaptionWorkerPool", decided.pool_statuses, world.now)
        async with _step("remove stale statuses"):
            present = {"CaptionModel": world.models, "CaptionWorkerPool": world.pools}
            self._stale.remove(present, world.now)


@contextlib.asynccontextmanager
async def _step(what: str) -> AsyncIterator[None]:
    try:
        yield
    except Exception:
        log.exception("could not " + what + "; tried again at the next turn")
