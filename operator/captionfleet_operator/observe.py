"""Gathers one World from catalog, broker and workers. Decides nothing."""

from collections.abc import Mapping

from captionfleet.catalog import Catalog
from captionfleet.resources import ModelManifest, ModelSpec, PoolManifest
from captionfleet_operator.code_maps import CodeMaps
from captionfleet_operator.fleet_link import FleetLink
from captionfleet_operator.hearing import Hearing
from captionfleet_operator.planner import ModelSeen, PoolSeen, World
from captionfleet_operator.settings import OperatorSettings
from captionfleet_operator.weights import Weights
from captionfleet_operator.workers import Workers


class Observer:
    def __init__(
        self,
        settings: OperatorSettings,
        catalog: Catalog,
        hearing: Hearing,
        link: FleetLink,
        workers: Workers,
        code: CodeMaps,
    ) -> None:
        self._fleet = settings.fleet
        self._kubernetes = settings.namespace is not None
        self._catalog = catalog
        self._hearing = hearing
        self._link = link
        self._workers = workers
        self._code = code
        self._weights = Weights()
        self._fingerprints: dict[str, tuple[ModelSpec, str]] = {}
        self._pool_gone_since: dict[str, float] = {}

    def world(self, now: float, queue_trouble: Mapping[str, str]) -> World:
        models, pools = self._catalog.models(), self._catalog.pools()
        for gone in self._fingerprints.keys() - models.keys():
            del self._fingerprints[gone]
        own = {
            worker.id: worker
            for pool in self._workers.pools() | pools.keys()
            for worker in self._workers.of_pool(pool, now)
        }
        draining = {worker for worker, each in own.items() if each.draining}
        workers = self._hearing.workers(own.keys(), draining)
        return World(
            now=now,
            fleet=self._fleet,
            settled=self._link.settled,
            models={
                name: self._model(manifest, queue_trouble.get(name, ""))
                for name, manifest in models.items()
            },
            pools={name: self._pool(manifest, now) for name, manifest in pools.items()},
            workers=workers,
            orphans=self._orphans(now),
            demand=self._hearing.total_demand(),
            demand_fresh=self._hearing.demand_is_fresh(),
            overrides=self._hearing.overrides(workers),
            kubernetes=self._kubernetes,
            broker_trouble=self._link.trouble,
        )

    def _pool(self, manifest: PoolManifest, now: float) -> PoolSeen:
        trouble = self._workers.trouble(manifest.name, now)
        return PoolSeen(
            manifest=manifest,
            own=self._workers.of_pool(manifest.name, now),
            trouble=trouble.sentence,
            trouble_reason=trouble.reason,
            shares_memory=self._workers.shares_memory,
            selector=self._workers.selector(manifest.name),
        )

    def _model(self, manifest: ModelManifest, queue_trouble: str) -> ModelSeen:
        return ModelSeen(
            manifest=manifest,
            fingerprint=self._fingerprint(manifest),
            weights=self._weights.sizes(manifest.spec),
            queue_trouble=queue_trouble,
            code=self._code.files(manifest),
            code_trouble=self._code.trouble(manifest),
        )

    def _fingerprint(self, manifest: ModelManifest) -> str:
        """Made once per spec object: the catalog hands out the same one until it changes."""
        known = self._fingerprints.get(manifest.name)
        if known is None or known[0] is not manifest.spec:
            known = (manifest.spec, manifest.spec.fingerprint())
            self._fingerprints[manifest.name] = known
        return known[1]

    def _orphans(self, now: float) -> dict[str, float]:
        gone = self._workers.pools() - self._catalog.pools().keys()
        self._pool_gone_since = {pool: self._pool_gone_since.get(pool, now) for pool in gone}
        return {
            worker.id: now - since
            for pool, since in self._pool_gone_since.items()
            for worker in self._workers.of_pool(pool, now)
        }
