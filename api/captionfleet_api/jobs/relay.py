"""Releases pending tasks: per model as many as its ready consumers can chew.

Woken by new work, results and heartbeats; a slow pulse of the flow is only the safety net.
"""

from collections.abc import Iterable

import structlog

from captionfleet.catalog import Catalog
from captionfleet.resources import ModelManifest
from captionfleet_api.jobs import metrics
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.claims import claim, ensure_lock
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.holds import Holds
from captionfleet_api.jobs.loops import finish
from captionfleet_api.jobs.publisher import Publisher
from captionfleet_api.store.engine import Database

log = structlog.get_logger()


class Relay:
    """One per api."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        fleet_view: FleetView,
        publisher: Publisher,
        holds: Holds,
        changes: Changes,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._fleet_view = fleet_view
        self._publisher = publisher
        self._holds = holds
        self._changes = changes
        self._locks_made: set[str] = set()

    async def release(self, models: Iterable[str]) -> None:
        """Fill the windows of these models from their pending tasks."""
        known = self._catalog.models()
        for model in sorted(models):
            if model in known and model not in self._holds:
                await self._fill(known[model])

    async def _fill(self, manifest: ModelManifest) -> None:
        try:
            while await finish(self._release(manifest)):
                pass  # answers from the cache took no room: there may be more to release
        except Exception:
            # One model's trouble must not keep the others waiting. The pulse tries again.
            log.exception("tasks not released", model=manifest.name)

    async def _release(self, manifest: ModelManifest) -> bool:
        """Release once; true if it is worth to look again."""
        model = manifest.name
        window = self._fleet_view.window(model)
        if not window.suspects:
            return False  # nobody consumes
        if model not in self._locks_made:
            await ensure_lock(self._database, model)
            self._locks_made.add(model)
        revision = self._fleet_view.revision_of(model, manifest.spec.fingerprint())
        async with self._database.write() as session:
            claimed = await claim(session, model, window, {model: revision} if revision else {})
        self._publisher.send(claimed.outgoing)
        self._changes.tell(claimed.jobs)
        metrics.released.labels(model).inc(len(claimed.outgoing))
        metrics.known.labels(model).inc(claimed.filled)
        return claimed.filled > 0
