"""Learns from heartbeats which attempts run: written to the database once per attempt, because
only an attempt that was seen running can have killed what ran it.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import select, update

from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.loops import finish
from captionfleet_api.store.engine import Database
from captionfleet_api.store.tables import Attempt


class Witness:
    """One per api. Call `look` after heartbeats, some times per second at most."""

    def __init__(self, database: Database, fleet_view: FleetView, changes: Changes) -> None:
        self._database = database
        self._fleet_view = fleet_view
        self._changes = changes
        self._own: Mapping[str, str] = {}
        self._held: set[str] = set()
        self._running: set[str] = set()

    async def look(self) -> None:
        """Note new running attempts, and whose tokens the workers hold."""
        held, running = self._fleet_view.held_tokens(), self._fleet_view.running_tokens()
        if held != self._held:
            self._own = await self._own_among(held)
            self._fleet_view.attribute(self._own)
        if begun := (running - self._running) & self._own.keys():
            await finish(self._mark(begun))
        if running != self._running:
            self._changes.tell_everyone()
        self._held, self._running = held, running

    async def _own_among(self, tokens: Collection[str]) -> dict[str, str]:
        """Those of the tokens that this database issued, with their models."""
        async with self._database.read() as session:
            rows = await session.execute(
                select(Attempt.token, Attempt.model).where(Attempt.token.in_(tokens))
            )
            return {row.token: row.model for row in rows}

    async def _mark(self, running: Collection[str]) -> None:
        async with self._database.write() as session:
            await session.execute(
                update(Attempt).where(Attempt.token.in_(running)).values(seen_running=True)
            )
