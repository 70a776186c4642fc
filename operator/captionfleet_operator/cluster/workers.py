"""The workers of a cluster: keeps each pool's children as they should be, and reads its pods."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import structlog

from captionfleet.catalog.kubernetes_api import KubernetesAPI, KubernetesError, path_of
from captionfleet.resources import PoolManifest
from captionfleet_operator.cluster.children import Key, children
from captionfleet_operator.cluster.deployment import Manifest
from captionfleet_operator.cluster.drift import drifted
from captionfleet_operator.cluster.kinds import BY_KIND, CHILDREN, CLAIM, DEPLOYMENT, POD
from captionfleet_operator.cluster.mirror import Mirror
from captionfleet_operator.cluster.naming import DELETION_COST, MANAGER, selector_text
from captionfleet_operator.cluster.troubles import pool_trouble
from captionfleet_operator.keyed_queue import KeyedQueue
from captionfleet_operator.planner import OwnWorker, Plan, World
from captionfleet_operator.settings import OperatorSettings
from captionfleet_operator.workers import Trouble

log = structlog.get_logger()

_CHILD_KINDS = {kind.kind for kind in CHILDREN}
_FIRST_TO_LEAVE = "-100"


class ClusterWorkers:
    """Pods by name. `wake` is called when something changed on which a plan may turn.

    `on_write` is called with every write, for whoever counts.
    """

    shares_memory = False

    def __init__(
        self,
        settings: OperatorSettings,
        api: KubernetesAPI,
        wake: Callable[[], None],
        on_write: Callable[[], None],
    ) -> None:
        assert settings.namespace
        self._settings = settings
        self._namespace = settings.namespace
        self._api = api
        self._wake = wake
        self._on_write = on_write
        self.mirror = Mirror(self._changed)
        self.queue: KeyedQueue[Key] = KeyedQueue(self._reconcile)
        self._wanted: dict[str, dict[Key, Manifest]] = {}
        self._made_from: dict[str, tuple[PoolManifest, int, bool]] = {}
        self._leavers: set[str] = set()
        self._refused: dict[Key, str] = {}
        self._pods: set[str] = set()
        self.monitored = False
        """The cluster knows ServiceMonitors."""

    async def run(self) -> None:
        await self.queue.run()

    # What is seen.

    def look(self, now: float) -> set[str]:
        pods = {
            pod["metadata"]["name"]
            for pool in self.mirror.pools()
            for pod in self.mirror.of_pool(pool, POD.kind)
        }
        ended, self._pods = self._pods - pods, pods
        return ended

    def pools(self) -> set[str]:
        return {pool for pool in self.mirror.pools() if self.mirror.of_pool(pool, POD.kind)}

    def of_pool(self, pool: str, now: float) -> tuple[OwnWorker, ...]:
        return tuple(
            OwnWorker(
                id=pod["metadata"]["name"],
                age_seconds=max(0.0, now - _created(pod)),
                draining="deletionTimestamp" in pod["metadata"],
            )
            for pod in self.mirror.of_pool(pool, POD.kind)
            if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
        )

    def selector(self, pool: str) -> str:
        return selector_text(pool)

    def trouble(self, pool: str, now: float) -> Trouble:
        deployments = self.mirror.of_pool(pool, DEPLOYMENT.kind)
        refused = [self._refused[k] for k in self._wanted.get(pool, ()) if k in self._refused]
        return pool_trouble(
            deployments[0] if deployments else None,
            self.mirror.of_pool(pool, POD.kind),
            "; ".join(sorted(refused)),
        )

    def _changed(self, key: Key, pool: str) -> None:
        if key[0] in _CHILD_KINDS and pool in self._wanted:
            self.queue.add(key)
        if key[0] in (POD.kind, DEPLOYMENT.kind):
            self._wake()

    # What is done.

    def act(self, world: World, plan: Plan) -> None:
        """Say which children each pool shall have; the queue makes them so."""
        self._leavers = {worker for size in plan.pools.values() for worker in size.drain}
        for name in self._wanted.keys() - world.pools.keys():
            self.forget(name)
        for name, size in plan.pools.items():
            try:
                self._want(world.pools[name].manifest, size.workers)
            except Exception:  # one pool's trouble is not that of the others
                log.exception("the objects of a pool could not be made up", pool=name)

    def forget(self, pool: str) -> None:
        """It is gone or going, and its children go with it: nothing of it is made again."""
        self._wanted.pop(pool, None)
        self._made_from.pop(pool, None)

    def _want(self, pool: PoolManifest, replicas: int) -> None:
        made_from = (pool, replicas, self.monitored)
        if pool.metadata.deletion_timestamp:
            return self.forget(pool.name)
        if self._same(pool.name, made_from):
            return None
        before = self._wanted.get(pool.name, {})
        wanted = children(pool, replicas, self._settings, monitored=self.monitored)
        self._wanted[pool.name], self._made_from[pool.name] = wanted, made_from
        unwanted = {k for k in self.mirror.keys_of_pool(pool.name) if k[0] in _CHILD_KINDS}
        for key in sorted(unwanted | wanted.keys(), key=_order):
            if wanted.get(key) != before.get(key) or key not in before:
                self.queue.add(key)
        return None

    def _same(self, pool: str, made_from: tuple[PoolManifest, int, bool]) -> bool:
        """Statuses change all the time and are no reason to make manifests anew."""
        known = self._made_from.get(pool)
        return known is not None and known[1:] == made_from[1:] and _like(known[0], made_from[0])

    async def _reconcile(self, key: Key) -> None:
        """Make one child what it should be."""
        live = self.mirror.get(key)
        wanted = next((each[key] for each in self._wanted.values() if key in each), None)
        try:
            if wanted is None:
                await self._remove(key, live)
            elif drifted(wanted, live):
                await self._apply(key, wanted, live)
        except KubernetesError as error:
            self._refused[key] = f"{key[0]} {key[1]} was refused by the cluster: {error}"
            self._wake()
            raise
        if self._refused.pop(key, None):
            self._wake()

    async def _apply(self, key: Key, wanted: Manifest, live: Mapping[str, Any] | None) -> None:
        if live and key[0] == DEPLOYMENT.kind and _shrinks(wanted, live):
            await self._mark_leavers(wanted["metadata"]["labels"])
        if live:
            log.info("object brought back in line", kind=key[0], name=key[1])
        self._on_write()
        answer = await self._api.apply(self._path(key), wanted, manager=MANAGER)
        self.mirror.see(key[0], answer)

    async def _remove(self, key: Key, live: Mapping[str, Any] | None) -> None:
        """Only what we made. A claim holds files that took long to fetch: it goes with its pool."""
        labels = (live or {}).get("metadata", {}).get("labels") or {}
        if live and key[0] != CLAIM.kind and labels.get("app.kubernetes.io/managed-by") == MANAGER:
            self._on_write()
            await self._api.delete(self._path(key))

    async def _mark_leavers(self, labels: Mapping[str, str]) -> None:
        """The Deployment removes the pods of the lowest cost: those that the planner chose."""
        for pod in self.mirror.of_pool(labels["captionfleet.io/pool"], POD.kind):
            name = pod["metadata"]["name"]
            cost = (pod["metadata"].get("annotations") or {}).get(DELETION_COST)
            wanted = _FIRST_TO_LEAVE if name in self._leavers else None
            if cost != wanted and "deletionTimestamp" not in pod["metadata"]:
                body = {"metadata": {"annotations": {DELETION_COST: wanted}}}
                self._on_write()
                await self._mark(name, body)

    async def _mark(self, pod: str, body: Mapping[str, Any]) -> None:
        try:
            await self._api.patch(self._path((POD.kind, pod)), body, manager=MANAGER)
        except KubernetesError as error:
            if error.status != 404:  # it left by itself
                raise

    def _path(self, key: Key) -> str:
        kind = BY_KIND[key[0]]
        return path_of(kind.api_version, kind.plural, self._namespace, key[1])


def _shrinks(wanted: Manifest, live: Mapping[str, Any]) -> bool:
    return bool(wanted["spec"]["replicas"] < live["spec"].get("replicas", 0))


def _like(one: PoolManifest, other: PoolManifest) -> bool:
    return one.metadata.uid == other.metadata.uid and (
        one.spec is other.spec or one.spec == other.spec
    )


def _created(pod: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).timestamp()


def _order(key: Key) -> tuple[int, str]:
    return [kind.kind for kind in CHILDREN].index(key[0]), key[1]
