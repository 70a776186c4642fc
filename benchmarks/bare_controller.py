"""The anchor of bench_operator: the least a controller can do for the same resources.

List and watch, a queue without doubles, 16 at once: five children per pool, one status per
resource. No planner, no broker, no workers, no lease, no drift.
`python -m benchmarks.bare_controller NAMESPACE`.
"""

import asyncio
import json
import sys
from typing import Any

from captionfleet.catalog.kubernetes_api import KubernetesAPI, path_of
from captionfleet.catalog.kubernetes_mirror import manifest_of
from captionfleet.resources import PoolManifest
from captionfleet_operator.cluster.children import children
from captionfleet_operator.cluster.kinds import BY_KIND, RESOURCES, Kind
from captionfleet_operator.settings import OperatorSettings

MANAGER = "bare-controller"
AT_ONCE = 16


class BareController:
    def __init__(self, api: KubernetesAPI, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._settings = OperatorSettings(namespace=namespace)
        self._seen: dict[tuple[str, str], dict[str, Any]] = {}
        self._queued: set[tuple[str, str]] = set()
        self._queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for kind in RESOURCES.values():
                group.create_task(self._watch(kind))
            for _ in range(AT_ONCE):
                group.create_task(self._work())
            print("watching", flush=True)

    async def _watch(self, kind: Kind) -> None:
        path = path_of(kind.api_version, kind.plural, self._namespace)
        listed = await self._api.list(path)
        version = listed["metadata"]["resourceVersion"]
        while True:
            async for event in self._api.watch(path, version):
                body = event["object"]
                version = body["metadata"]["resourceVersion"]
                if event["type"] in ("ADDED", "MODIFIED"):
                    self._see(kind, body)

    def _see(self, kind: Kind, body: dict[str, Any]) -> None:
        key = (kind.kind, body["metadata"]["name"])
        self._seen[key] = body
        generation = body["metadata"]["generation"]
        settled = (body.get("status") or {}).get("observedGeneration") == generation
        if not settled and key not in self._queued:
            self._queued.add(key)
            self._queue.put_nowait(key)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._queued.discard(key)
            body = self._seen[key]
            manifest = manifest_of(body)
            if isinstance(manifest, PoolManifest):
                for child in children(manifest, 0, self._settings, monitored=False).values():
                    await self._apply(child)
            await self._settle(key, body["metadata"]["generation"])

    async def _apply(self, child: dict[str, Any]) -> None:
        kind = BY_KIND[child["kind"]]
        name = child["metadata"]["name"]
        path = path_of(kind.api_version, kind.plural, self._namespace, name)
        await self._api.apply(path, child, manager=MANAGER)

    async def _settle(self, key: tuple[str, str], generation: int) -> None:
        kind = RESOURCES[key[0]]
        condition = {
            "type": "Ready", "status": "False", "reason": "Seen", "message": "seen",
            "lastTransitionTime": "2026-01-01T00:00:00+00:00", "observedGeneration": generation,
        }  # fmt: skip
        status = {"observedGeneration": generation, "conditions": [condition]}
        body = {
            "apiVersion": kind.api_version, "kind": kind.kind,
            "metadata": {"name": key[1]}, "status": status,
        }  # fmt: skip
        path = path_of(kind.api_version, kind.plural, self._namespace, key[1], "status")
        await self._api.apply(path, body, manager=MANAGER)


async def main(namespace: str) -> None:
    api = await KubernetesAPI.connect()
    try:
        await BareController(api, namespace).run()
    finally:
        await api.close()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except* Exception as group:
        print(json.dumps([str(error) for error in group.exceptions]), file=sys.stderr)
        raise
