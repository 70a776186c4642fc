"""Models that were deleted while tasks of theirs are open: waited for, then their tasks fail."""

import time
from collections.abc import Callable, Iterable

import structlog
from sqlalchemy import select

from captionfleet.catalog import Catalog
from captionfleet_api.jobs import transitions
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.loops import finish
from captionfleet_api.jobs.waiting import vanished_sentence
from captionfleet_api.store.engine import Database
from captionfleet_api.store.tables import OPEN_STATES, Task

log = structlog.get_logger()

_FAILED_AT_ONCE = 500


class Vanished:
    """One per api. `grace_seconds` is how long a deleted model may take to come back."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        changes: Changes,
        grace_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._changes = changes
        self._grace = grace_seconds
        self._clock = clock
        self._since: dict[str, float] = {}

    async def judge(self, models: Iterable[str]) -> None:
        """Fail the open tasks of those `models` that have been gone for too long."""
        if not self._catalog.complete():
            return  # absence means nothing yet
        now, there = self._clock(), self._catalog.models()
        self._since = {model: self._since.get(model, now) for model in models if model not in there}
        for model, since in self._since.items():
            if now - since >= self._grace:
                log.warning("tasks of a deleted model fail", model=model)
                while await finish(self._fail_some(model)):
                    pass

    def sentences(self) -> dict[str, str]:
        """Why tasks of deleted models wait."""
        now = self._clock()
        return {
            model: vanished_sentence(model, max(0.0, since + self._grace - now))
            for model, since in self._since.items()
        }

    async def _fail_some(self, model: str) -> bool:
        """Fail some of the model's open tasks, in a short transaction; false if none is left."""
        message = f"{model} was deleted and did not come back within {self._grace:.0f} s"
        now = time.time()
        async with self._database.write() as session:
            tasks = (
                await session.scalars(
                    select(Task)
                    .where(Task.state.in_(OPEN_STATES), Task.model == model)
                    .order_by(Task.id)
                    .limit(_FAILED_AT_ONCE)
                    .with_for_update()
                )
            ).all()
            for task in tasks:
                transitions.to_failed(task, "model_deleted", message, now)
            await transitions.record(session, tasks, now)
        self._changes.tell({task.job for task in tasks})
        return bool(tasks)
