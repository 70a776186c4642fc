"""Many models and pools applied at once: from apply to owned objects and to settled status.

The operator and a bare controller (bare_controller.py) take turns on one API server. Prints one
JSON line; seconds are medians over rounds. `python -m benchmarks.bench_operator [--rounds 2]`.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from tests.cluster.clusters import Cluster, build

from captionfleet.catalog.kubernetes_api import KubernetesAPI, path_of
from captionfleet.ids import new_nonce
from captionfleet.resources import API_VERSION
from captionfleet_cli.rabbitmq import PrivateBroker, start_private_broker
from captionfleet_operator.cluster.kinds import (
    BUDGET,
    DEPLOYMENT,
    MODEL,
    POLICY,
    POOL,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
)
from captionfleet_operator.cluster.naming import POOL_LABEL

ROOT = Path(__file__).parent.parent
OWNED = (SERVICE_ACCOUNT, SERVICE, POLICY, BUDGET, DEPLOYMENT)
AT_ONCE = 32
QUIET_SECONDS = 8.0
RESTART_SECONDS = 25.0

Numbers = dict[str, float]


@dataclass
class Watched:
    """When things were seen, by the monotonic clock."""

    owned: dict[str, set[str]] = field(default_factory=dict)
    objects_at: dict[str, float] = field(default_factory=dict)
    settled_at: dict[tuple[str, str], float] = field(default_factory=dict)
    applied_at: dict[tuple[str, str], float] = field(default_factory=dict)

    def see(self, kind: Kind, body: Mapping[str, Any]) -> None:
        now, name = time.monotonic(), body["metadata"]["name"]
        if kind in (MODEL, POOL):
            if _is_settled(body):
                self.settled_at.setdefault((kind.kind, name), now)
            return
        pool = (body["metadata"].get("labels") or {}).get(POOL_LABEL)
        if pool is None:
            return
        seen = self.owned.setdefault(pool, set())
        seen.add(kind.kind)
        if len(seen) == len(OWNED):
            self.objects_at.setdefault(pool, now)

    def seconds_to_objects(self) -> list[float]:
        return [
            at - self.applied_at[("CaptionWorkerPool", pool)]
            for pool, at in self.objects_at.items()
        ]

    def seconds_to_settle(self) -> list[float]:
        return [at - self.applied_at[key] for key, at in self.settled_at.items()]


def _is_settled(body: Mapping[str, Any]) -> bool:
    status = body.get("status") or {}
    judged = any(c["type"] == "Ready" for c in status.get("conditions", ()))
    return bool(judged and status.get("observedGeneration") == body["metadata"]["generation"])


@dataclass(frozen=True)
class Side:
    """A controller under test: how it is started, and what it prints when it watches."""

    name: str
    command: list[str]
    manager: str
    ready: str


OPERATOR = Side(
    "operator", [sys.executable, "-m", "captionfleet_operator"], "captionfleet-operator",
    "is at work",
)  # fmt: skip
ANCHOR = Side(
    "anchor", [sys.executable, "-m", "benchmarks.bare_controller"], "bare-controller", "watching",
)  # fmt: skip


class Bench:
    def __init__(self, cluster: Cluster, broker: PrivateBroker, folder: Path, size: Any) -> None:
        self._cluster = cluster
        self._broker = broker
        self._folder = folder
        self._models: int = size.models
        self._pools: int = size.pools

    async def round(self, side: Side) -> Numbers:
        namespace = f"{side.name}-{new_nonce()}".lower()
        self._cluster.kubectl("create", "namespace", namespace)
        process = self._start(side, namespace)
        try:
            return await self._measure(side, namespace, process)
        finally:
            self._end(process)
            self._cluster.kubectl("delete", "namespace", namespace, "--wait=false")

    async def _measure(
        self, side: Side, namespace: str, process: subprocess.Popen[bytes]
    ) -> Numbers:
        watched = Watched()
        before = psutil.Process(process.pid).cpu_times()
        async with self._watching(namespace, watched) as api:
            await self._apply_all(api, namespace, watched)
            total = self._models + self._pools
            await _until(
                lambda: len(watched.settled_at) == total and len(watched.objects_at) == self._pools,
                600,
            )
            await self._quiet(side, namespace)
        after = psutil.Process(process.pid)
        spent = after.cpu_times()
        writes = self._writes(side, namespace)
        numbers = {
            **_spread("objects", watched.seconds_to_objects()),
            **_spread("settled", watched.seconds_to_settle()),
            "writes": float(writes),
            "writes_per_object": round(writes / (total + len(OWNED) * self._pools), 3),
            "cpu_ms_per_object": round(
                1000 * (spent.user + spent.system - before.user - before.system) / total, 2
            ),
            "rss_mb": round(after.memory_info().rss / 1e6, 1),
        }  # fmt: skip
        if side is OPERATOR:
            numbers["restart_writes"] = float(await self._restart(side, namespace, process, writes))
        return numbers

    async def _restart(
        self, side: Side, namespace: str, process: subprocess.Popen[bytes], writes: int
    ) -> int:
        """Writes of a fresh operator that finds everything done."""
        self._end(process)
        fresh = self._start(side, namespace)
        try:
            await asyncio.sleep(RESTART_SECONDS)
            return self._writes(side, namespace) - writes
        finally:
            self._end(fresh)

    def _start(self, side: Side, namespace: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "KUBECONFIG": str(self._cluster.kubeconfig),
            "RABBITMQ_URL": self._broker.url,
            "CAPTIONFLEET_NAMESPACE": namespace,
            "CAPTIONFLEET_FLEET": namespace,
            "CAPTIONFLEET_IDENTITY": "bench",
            "CAPTIONFLEET_OPERATOR_PORT": "0",
            "CAPTIONFLEET_DATA": str(self._folder),
        }
        log = self._folder / f"{namespace}-{new_nonce()}.log"
        command = [*side.command, namespace] if side is ANCHOR else side.command
        with log.open("wb") as out:
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        while side.ready not in log.read_text():
            if process.poll() is not None:
                raise RuntimeError(f"{side.name} ended: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        return process

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _writes(self, side: Side, namespace: str) -> int:
        """Applies and patches under the side's own name; the lease's renewals carry none."""
        return sum(
            r.is_write and r.namespace == namespace and r.manager == side.manager
            for r in self._cluster.requests()
        )

    async def _quiet(self, side: Side, namespace: str) -> None:
        while True:
            before = self._writes(side, namespace)
            await asyncio.sleep(QUIET_SECONDS)
            if self._writes(side, namespace) == before:
                return

    @asynccontextmanager
    async def _watching(self, namespace: str, watched: Watched) -> AsyncIterator[KubernetesAPI]:
        os.environ["KUBECONFIG"] = str(self._cluster.kubeconfig)
        api = await KubernetesAPI.connect()
        tasks = []
        for kind in (MODEL, POOL, *OWNED):
            path = path_of(kind.api_version, kind.plural, namespace)
            version = (await api.list(path))["metadata"]["resourceVersion"]
            tasks.append(asyncio.create_task(_watch(api, path, version, kind, watched)))
        try:
            yield api
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await api.close()

    async def _apply_all(self, api: KubernetesAPI, namespace: str, watched: Watched) -> None:
        room = asyncio.Semaphore(AT_ONCE)

        async def apply(kind: Kind, name: str, spec: dict[str, Any]) -> None:
            body = {
                "apiVersion": API_VERSION, "kind": kind.kind, "metadata": {"name": name},
                "spec": spec,
            }  # fmt: skip
            path = path_of(kind.api_version, kind.plural, namespace, name)
            async with room:
                await api.apply(path, body, manager="bench")
                watched.applied_at[(kind.kind, name)] = time.monotonic()

        pool = {"device": {"type": "CPU"}, "autoscaling": {"minReplicas": 0}}
        pools = [apply(POOL, f"pool-{n}", pool) for n in range(self._pools)]
        models = [apply(MODEL, f"model-{n}", _model(n)) for n in range(self._models)]
        await asyncio.gather(*pools, *models)


def _model(number: int) -> dict[str, Any]:
    return {
        "source": {"huggingFace": {"repo": f"bench/model-{number}"}},
        "acceptance": {"prove": "OnFirstUse"},
    }


async def _watch(api: KubernetesAPI, path: str, version: str, kind: Kind, watched: Watched) -> None:
    while True:
        async for event in api.watch(path, version):
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] in ("ADDED", "MODIFIED"):
                watched.see(kind, event["object"])


async def _until(holds: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not settled within {seconds} s")
        await asyncio.sleep(0.05)


def _spread(what: str, seconds: list[float]) -> Numbers:
    ordered = sorted(max(each, 0.0) for each in seconds)
    last = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return {f"{what}_p50_s": round(statistics.median(ordered), 3), f"{what}_p99_s": round(last, 3)}


def _medians(rounds: list[Numbers]) -> Numbers:
    names = rounds[0].keys()
    return {name: round(statistics.median(each[name] for each in rounds), 3) for name in names}


async def _run(bench: Bench, rounds: int) -> tuple[Numbers, Numbers]:
    operator: list[Numbers] = []
    anchor: list[Numbers] = []
    for number in range(rounds):
        for side in (OPERATOR, ANCHOR) if number % 2 == 0 else (ANCHOR, OPERATOR):
            print(f"round {number + 1}: {side.name}", file=sys.stderr, flush=True)
            (operator if side is OPERATOR else anchor).append(await bench.round(side))
    return _medians(operator), _medians(anchor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--pools", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=2)
    size = parser.parse_args()
    build("kube")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = start_private_broker(folder / "broker")
        cluster = Cluster.start(folder / "cluster", node=False)
        try:
            broker.wait_until_ready()
            cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
            cluster.kubectl("wait", "--for=condition=Established", "crd", "--all")
            operator, anchor = asyncio.run(_run(Bench(cluster, broker, folder, size), size.rounds))
        finally:
            cluster.stop()
            broker.stop()
    print(
        json.dumps(
            {
                "benchmark": "operator", "models": size.models, "pools": size.pools,
                "rounds": size.rounds, "operator": operator, "anchor": anchor,
                "ratio_objects_p99": round(operator["objects_p99_s"] / anchor["objects_p99_s"], 2),
                "ratio_settled_p99": round(operator["settled_p99_s"] / anchor["settled_p99_s"], 2),
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
