"""Gathers one World from catalog, broker and local processes. Decides nothing."""

from collections.abc import Mapping

from captionfleet.catalog import Catalog
from captionfleet.resources import ModelManifest
from captionfleet_operator.fleet_link import FleetLink
from captionfleet_operator.hearing import Hearing
from captionfleet_operator.local.workers import LocalWorkers
from captionfleet_operator.planner import ModelSeen, PoolSeen, World
from captionfleet_operator.weights import Weights


class Observer:
    def __init__(
        self, fleet: str, catalog: Catalog, hearing: Hearing, link: FleetLink, local: LocalWorkers
    ) -> None:
        self._fleet = fleet
        self._catalog = catalog
        self._hearing = hearing
        self._link = link
        self._local = local
        self._weights = Weights()
        self._fingerprints: dict[str, tuple[ModelManifest, str]] = {}
        self._pool_gone_since: dict[str, float] = {}

    def world(self, now: float, queue_trouble: Mapping[str, str]) -> World:
        models, pools = self._catalog.models(), self._catalog.pools()
        own = {
            worker.id: worker
            for pool in self._local.pools() | pools.keys()
            for worker in self._local.of_pool(pool, now)
        }
        draining = {worker for worker, each in own.items() if each.draining}
        return World(
            now=now,
            fleet=self._fleet,
            settled=self._link.settled,
            models={
                name: self._model(manifest, queue_trouble.get(name, ""))
                for name, manifest in models.items()
            },
            pools={
                name: PoolSeen(
                    manifest=manifest,
                    own=self._local.of_pool(name, now),
                    trouble=self._local.trouble(name, now),
                )
                for name, manifest in pools.items()
            },
            workers=self._hearing.workers(own.keys(), draining),
            orphans=self._orphans(now),
            demand=self._hearing.total_demand(),
            demand_fresh=self._hearing.demand_is_fresh(),
        )

    def _model(self, manifest: ModelManifest, queue_trouble: str) -> ModelSeen:
        return ModelSeen(
            manifest=manifest,
            fingerprint=self._fingerprint(manifest),
            weight_bytes=self._weights.size(manifest.spec),
            queue_trouble=queue_trouble,
        )

    def _fingerprint(self, manifest: ModelManifest) -> str:
        """Made once per manifest object: the catalog hands out the same one until it changes."""
        known = self._fingerprints.get(manifest.name)
        if known is None or known[0] is not manifest:
            known = self._fingerprints[manifest.name] = (manifest, manifest.spec.fingerprint())
        return known[1]

    def _orphans(self, now: float) -> dict[str, float]:
        gone = self._local.pools() - self._catalog.pools().keys()
        self._pool_gone_since = {pool: self._pool_gone_since.get(pool, now) for pool in gone}
        return {
            worker.id: now - since
            for pool, since in self._pool_gone_since.items()
            for worker in self._local.of_pool(pool, now)
        }
