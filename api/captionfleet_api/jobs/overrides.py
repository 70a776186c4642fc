"""What people ask of single workers: kept in the database, told to the operator with the demand.

An override ends with the life of its worker: a process that comes back under the same name is
another one.
"""

import time
from collections.abc import Callable, Mapping

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet import messages
from captionfleet.messages import Wanted
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.store.engine import Database
from captionfleet_api.store.sequence import next_changes
from captionfleet_api.store.tables import Installation, Override

UNHEARD_SECONDS = 600.0
"""A worker that was not heard for so long is gone, and what was asked of it with it."""


class Overrides:
    """`clock` gives monotonic seconds, `wall` Unix seconds."""

    def __init__(
        self,
        database: Database,
        view: FleetView,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._view = view
        self._clock = clock
        self._wall = wall
        self._unheard_since: Mapping[str, float] = {}

    async def ask(self, worker: str, incarnation: str, model: str, state: Wanted) -> None:
        """Keep it in the place of what was asked before."""
        async with self._database.write() as session:
            await session.merge(
                Override(
                    worker=worker, model=model, incarnation=incarnation, state=state.value,
                    asked_at=self._wall(),
                )
            )  # fmt: skip
            await next_changes(session)

    async def release(self, worker: str, model: str) -> bool:
        """Ask nothing more. False if nothing was asked."""
        async with self._database.write() as session:
            gone = delete(Override).where(Override.worker == worker, Override.model == model)
            found = await session.scalars(gone.returning(Override.model))
            if found.one_or_none() is None:
                return False
            await next_changes(session)
        return True

    async def of_worker(self, worker: str, incarnation: str) -> dict[str, Override]:
        """Model -> what is asked of this life of the worker, oldest first."""
        return (await self.of_all({worker: incarnation})).get(worker, {})

    async def of_all(self, incarnations: Mapping[str, str]) -> dict[str, dict[str, Override]]:
        """Worker -> model -> what is asked. `incarnations`: worker -> its present life."""
        found: dict[str, dict[str, Override]] = {}
        for row in await self._rows():
            if incarnations.get(row.worker) == row.incarnation:
                found.setdefault(row.worker, {})[row.model] = row
        return found

    async def forget_ended(self) -> None:
        """Drop what was asked of workers that live another life now, or are gone."""
        lives = self._view.incarnations()
        rows, now = await self._rows(), self._clock()
        self._unheard_since = {
            row.worker: self._unheard_since.get(row.worker, now)
            for row in rows
            if row.worker not in lives
        }
        lost = {w for w, since in self._unheard_since.items() if now - since > UNHEARD_SECONDS}
        ended = [
            row for row in rows if lives.get(row.worker, row.incarnation) != row.incarnation
        ] + [row for row in rows if row.worker in lost]
        if not ended:
            return
        async with self._database.write() as session:
            for row in ended:
                # Meanwhile it may have been asked of the new life.
                await session.execute(
                    delete(Override).where(
                        Override.worker == row.worker,
                        Override.model == row.model,
                        Override.incarnation == row.incarnation,
                    )
                )
            await next_changes(session)

    async def _rows(self) -> list[Override]:
        async with self._database.read() as session:
            return await kept_overrides(session)


async def kept_overrides(session: AsyncSession) -> list[Override]:
    """All there are, oldest first."""
    order = (Override.asked_at, Override.worker, Override.model)
    return list(await session.scalars(select(Override).order_by(*order)))


async def told_overrides(session: AsyncSession) -> tuple[list[messages.Override], int]:
    """As the operator is told them, and the number of changes they are as of."""
    rows = await kept_overrides(session)
    as_of = await session.scalar(select(func.max(Installation.changes)))
    told = [
        messages.Override(
            worker=row.worker, incarnation=row.incarnation, model=row.model,
            state=Wanted(row.state), asked_at=row.asked_at,
        )
        for row in rows
    ]  # fmt: skip
    return told, as_of or 0
