"""The operator of one folder of manifests: workers are processes of this machine."""

import asyncio
import signal

from captionfleet.catalog import FolderCatalog
from captionfleet_operator.code_maps import CodeMaps
from captionfleet_operator.local.workers import LocalWorkers
from captionfleet_operator.loop import Operator, follow
from captionfleet_operator.planner import Memory, Plan, World
from captionfleet_operator.settings import OperatorSettings
from captionfleet_operator.statuses import FOLDER_NUMBERS_SECONDS, StaleStatuses, StatusWriter


async def run_local(settings: OperatorSettings) -> None:
    """Until cancelled. Workers outlive it."""
    catalog = FolderCatalog(settings.catalog, settings.data, settings.custom_infer)
    workers = LocalWorkers(settings, catalog.custom)
    stale = StaleStatuses(settings.data.resolve() / "status")

    def tidy(world: World, plan: Plan, before: Memory) -> None:
        present = {"CaptionModel": world.models, "CaptionWorkerPool": world.pools}
        stale.remove(present, world.now)

    statuses = StatusWriter(catalog, numbers_seconds=FOLDER_NUMBERS_SECONDS)
    operator = Operator(settings, catalog, workers, CodeMaps(), statuses, tidy)
    workers.adopt()
    # A worker that ends is noticed at once, not at the next tick.
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, operator.wake)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(operator.run())
        tasks.create_task(follow(catalog, operator.wake))
