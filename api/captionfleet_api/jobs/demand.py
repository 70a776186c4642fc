"""Tells the operator how much work there is, and what people ask of single workers."""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet.broker.link import Link, NotConfirmed
from captionfleet.broker.names import Names
from captionfleet.messages import Demand, ModelDemand
from captionfleet_api.jobs.overrides import told_overrides
from captionfleet_api.store.engine import Database
from captionfleet_api.store.tables import OPEN_STATES, Task, TaskState


class DemandTeller:
    """One per api. `backend` is the name of its results queue."""

    def __init__(self, link: Link, names: Names, backend: str, database: Database) -> None:
        self._link = link
        self._names = names
        self._backend = backend
        self._database = database
        self._told: dict[str, ModelDemand] = {}

    async def tell(self) -> dict[str, ModelDemand]:
        """Count open tasks by model and publish the counts; without a broker, only count."""
        async with self._database.read() as session:
            models = await open_tasks(session)
            overrides, as_of = await told_overrides(session)
        message = Demand(backend=self._backend, models=models, overrides=overrides, as_of=as_of)
        self._told = models
        # Without a broker nobody hears it: the next telling is 2 s away, or at the reconnect.
        with suppress(NotConfirmed):
            await self._link.publish(
                self._names.demand, "", message.encode(), mandatory=False, persistent=False
            )
        return models

    def begins(self, models: Iterable[str]) -> bool:
        """One of these had no work when the operator was last told."""
        return any(model not in self._told for model in models)


async def open_tasks(session: AsyncSession) -> dict[str, ModelDemand]:
    """Model -> tasks pending and released, for models that have any."""
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for model, state, count in await session.execute(
        select(Task.model, Task.state, func.count())
        .where(Task.state.in_(OPEN_STATES))
        .group_by(Task.state, Task.model)
    ):
        counts[model][state] = count
    return {
        model: ModelDemand(
            pending=of.get(TaskState.PENDING, 0), released=of.get(TaskState.QUEUED, 0)
        )
        for model, of in counts.items()
    }
