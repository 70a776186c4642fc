"""Observe, plan, act: one turn after every change, and one every two seconds."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection

import structlog

from captionfleet.broker.names import Names
from captionfleet.catalog import Catalog
from captionfleet.faults import fault_point
from captionfleet_operator.code_maps import CodeMaps
from captionfleet_operator.fleet_link import HEARTBEAT_SECONDS, FleetLink
from captionfleet_operator.hearing import Hearing
from captionfleet_operator.observe import Observer
from captionfleet_operator.planner import Memory, Plan, World, plan
from captionfleet_operator.queues import ModelQueues
from captionfleet_operator.settings import OperatorSettings
from captionfleet_operator.statuses import StatusWriter
from captionfleet_operator.workers import Workers

log = structlog.get_logger()

COALESCED_SECONDS = 0.5
"""Shortest time between two turns: a burst of changes is one change."""

AfterTurn = Callable[[World, Plan, Memory], None]
"""Told the world, the plan, and what was remembered before it."""


class Operator:
    """Runs until cancelled. Workers outlive it."""

    def __init__(
        self,
        settings: OperatorSettings,
        catalog: Catalog,
        workers: Workers,
        code: CodeMaps,
        statuses: StatusWriter,
        after_turn: AfterTurn,
    ) -> None:
        self._catalog = catalog
        self._code = code
        self._workers = workers
        self._statuses = statuses
        self._after_turn = after_turn
        self._woken = asyncio.Event()
        self._hearing = Hearing(time.monotonic)
        self._link = FleetLink(settings, self._hearing, self.wake)
        self._queues = ModelQueues(Names(settings.fleet))
        self._observer = Observer(settings, catalog, self._hearing, self._link, workers, code)
        self._memory = Memory()
        # Unix time that never runs backwards.
        self._epoch = time.time() - time.monotonic()
        self.turned_at = time.monotonic()
        """Monotonic time of the last whole turn."""

    def wake(self) -> None:
        """Something changed: take a turn soon."""
        self._woken.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run())
            tasks.create_task(self._statuses.run())
            tasks.create_task(self._keep_queues())
            tasks.create_task(self._turns())

    async def _keep_queues(self) -> None:
        """Apart from the turns: a broker that is slow must not hold up pools and statuses."""
        while True:
            async with _step("keep the queues"):
                if session := self._link.session:
                    now = self._epoch + time.monotonic()
                    await self._queues.keep(session, self._catalog.models(), now)
            await asyncio.sleep(COALESCED_SECONDS)

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
            self._hearing.forget(self._workers.look(now))
        async with _step("read the code of models"):
            await self._code.look(self._catalog.models())
        async with _step("plan"):
            world = self._observer.world(now, self._queues.trouble)
            before = self._memory
            decided, self._memory = plan(world, before)
            await self._carry_out(world, decided, before)
            self.turned_at = time.monotonic()

    async def _carry_out(self, world: World, decided: Plan, before: Memory) -> None:
        fault_point("operator: before acting")
        async with _step("start and drain workers"):
            self._workers.act(world, decided)
        async with _step("tell the fleet"):
            await self._link.tell(decided, world)
        fault_point("operator: before writing status")
        async with _step("write statuses"):
            models = {name: model.manifest for name, model in world.models.items()}
            pools = {name: pool.manifest for name, pool in world.pools.items()}
            self._statuses.want("CaptionModel", decided.model_statuses, models, world.now)
            self._statuses.want("CaptionWorkerPool", decided.pool_statuses, pools, world.now)
        async with _step("finish the turn"):
            self._after_turn(world, decided, before)


async def follow(catalog: Catalog, changed: Callable[[], None]) -> None:
    """Watch a catalog for ever: `changed` is called after each change, and problems are told."""
    told: list[str] = []
    while True:
        async with _step("watch the catalog"):
            async for _ in catalog.watch():
                told = tell_problems(catalog, told)
                changed()
        await asyncio.sleep(HEARTBEAT_SECONDS)


def tell_problems(catalog: Catalog, told: Collection[str]) -> list[str]:
    """Log what is refused and was not told yet. Returns all there is."""
    problems = catalog.problems()
    for problem in problems:
        if problem not in told:
            log.warning("manifest refused", why=problem)
    return problems


@contextlib.asynccontextmanager
async def _step(what: str) -> AsyncIterator[None]:
    try:
        yield
    except Exception:
        log.exception("could not " + what + "; tried again at the next turn")
