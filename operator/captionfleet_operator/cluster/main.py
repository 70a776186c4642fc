"""The operator of one namespace: holds the lease, watches, takes turns, writes what differs."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

import kopf
import structlog
import uvloop

from captionfleet.catalog.kubernetes import KubernetesCatalog
from captionfleet.catalog.kubernetes_api import KubernetesAPI, KubernetesError, path_of
from captionfleet_operator.cluster.announcing import Announcer
from captionfleet_operator.cluster.doors import Answer, Meters, serve_doors
from captionfleet_operator.cluster.kinds import MODEL, POOL, Kind
from captionfleet_operator.cluster.lease import LeaseLost, OperatorLease
from captionfleet_operator.cluster.watching import (
    read_all,
    read_now_and_then,
    registry_for,
    settings_for,
)
from captionfleet_operator.cluster.workers import ClusterWorkers
from captionfleet_operator.code_maps import CodeMaps
from captionfleet_operator.loop import Operator, tell_problems
from captionfleet_operator.planner import Memory, Plan, World, events
from captionfleet_operator.settings import OperatorSettings
from captionfleet_operator.statuses import CLUSTER_NUMBERS_SECONDS, StatusWriter

log = structlog.get_logger()

_STUCK_SECONDS = 180.0
"""An operator without a turn for so long is better started again."""
_BEGIN_AGAIN_SECONDS = 5.0


def run_cluster(settings: OperatorSettings) -> int:
    """Until SIGTERM: exit status 0. 1 if another operator took over or the cluster refuses us."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(ClusterOperator(settings).run())
        except (KubernetesError, LeaseLost, OSError) as error:
            print(f"captionfleet operator: {error}", file=sys.stderr)
            return 1
    return 0


class ClusterOperator:
    """Wires the parts and ends them in order."""

    def __init__(self, settings: OperatorSettings) -> None:
        assert settings.namespace
        self._settings = settings
        self._namespace = settings.namespace
        self._meters = Meters(settings.namespace)
        self._stop = asyncio.Event()
        self._told: list[str] = []

    async def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        self._api = await KubernetesAPI.connect()
        self._lease = OperatorLease(self._api, self._namespace, self._settings.identity)
        self._wire()
        doors = await serve_doors(
            self._settings.operator_host, self._settings.operator_port, self._meters,
            self._alive, self._ready,
        )  # fmt: skip
        port = doors.addresses[0][1]
        log.info("doors open", host=self._settings.operator_host, port=port)
        try:
            await self._until_stopped()
        finally:
            await doors.cleanup()
            with contextlib.suppress(KubernetesError):
                await self._lease.release()
            await self._api.close()

    def _wire(self) -> None:
        self._catalog = KubernetesCatalog(self._namespace, self._api)
        self._workers = ClusterWorkers(
            self._settings,
            self._api,
            wake=lambda: self._operator.wake(),
            on_write=self._meters.writes.labels("child").inc,
        )
        self._announcer = Announcer(self._api, self._namespace, self._settings.identity)
        statuses = StatusWriter(
            self._catalog,
            numbers_seconds=CLUSTER_NUMBERS_SECONDS,
            on_write=self._meters.writes.labels("status").inc,
        )
        self._code = CodeMaps(self._config_map)
        self._operator = Operator(
            self._settings,
            self._catalog,
            self._workers,
            self._code,
            statuses,
            self._after_turn,
        )

    async def _config_map(self, name: str) -> Mapping[str, Any] | None:
        return await self._api.get(path_of("v1", "configmaps", self._namespace, name))

    async def _until_stopped(self) -> None:
        stopping = asyncio.ensure_future(self._stop.wait())
        working = asyncio.ensure_future(self._work())
        await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        working.cancel()
        results = await asyncio.gather(working, return_exceptions=True)
        if isinstance(results[0], BaseExceptionGroup):
            raise results[0].exceptions[0]
        if isinstance(results[0], Exception):
            raise results[0]

    async def _work(self) -> None:
        await self._lease.acquire()
        self._meters.leading.set(1)
        await self._read_first()
        async with asyncio.TaskGroup() as tasks:
            for each in (
                self._watch(),
                self._lease.keep(),
                self._operator.run(),
                self._workers.run(),
                self._announcer.run(),
                read_now_and_then(self._read),
            ):
                tasks.create_task(each)

    async def _watch(self) -> None:
        """kopf takes the signals over, so its end is ours."""
        await kopf.operator(
            registry=registry_for(self),
            settings=settings_for(self._settings.identity),
            namespaces=[self._namespace],
            standalone=True,
            stop_flag=self._stop,
        )
        self._stop.set()

    async def _read_first(self) -> None:
        """Nothing is decided before everything was seen once."""
        while True:
            try:
                await self._read()
                return
            except KubernetesError as error:
                log.warning("the namespace could not be read; tried again", why=str(error))
            await asyncio.sleep(_BEGIN_AGAIN_SECONDS)

    async def _read(self) -> None:
        self._workers.monitored = await read_all(self._api, self._namespace, self)
        self._code.doubt()

    # What is seen.

    def see(self, kind: Kind, body: Mapping[str, Any], *, gone: bool) -> None:
        if kind in (MODEL, POOL):
            if kind == POOL and (gone or "deletionTimestamp" in body["metadata"]):
                self._workers.forget(body["metadata"]["name"])
            self._catalog.see("DELETED" if gone else "MODIFIED", dict(body))
            self._told = tell_problems(self._catalog, self._told)
            self._operator.wake()
        else:
            self._workers.mirror.see(kind.kind, body, gone=gone)

    def see_all(self, kind: Kind, items: list[Mapping[str, Any]], version: str) -> None:
        if kind in (MODEL, POOL):
            self._catalog.see_all(kind.kind, [dict(item) for item in items], version)
            self._told = tell_problems(self._catalog, self._told)
            self._operator.wake()
        else:
            self._workers.mirror.replace(kind.kind, items, version)

    # What is told.

    def _after_turn(self, world: World, plan: Plan, before: Memory) -> None:
        self._meters.take(world, plan)
        for event in events(world, before, plan):
            resources = world.models if event.kind == MODEL.kind else world.pools
            if about := resources.get(event.name):
                self._announcer.announce(event, about.manifest)

    def _alive(self) -> Answer:
        """Never depends on the broker: a restart does not bring one back."""
        silent = time.monotonic() - self._operator.turned_at
        if self._lease.held and silent > _STUCK_SECONDS:
            return False, f"no turn was finished for {silent:.0f} s"
        return True, "alive"

    def _ready(self) -> Answer:
        if self._lease.held:
            return True, "at work"
        return True, f"standing by: {self._lease.holder or 'nobody yet'} holds the lease"
