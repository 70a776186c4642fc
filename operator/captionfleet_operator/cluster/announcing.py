"""Posts Kubernetes Events, so that `kubectl describe` tells what happened. Never one per turn."""

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog

from captionfleet.catalog.kubernetes_api import KubernetesAPI, KubernetesError, path_of
from captionfleet.resources import API_VERSION, Manifest
from captionfleet_operator.cluster.naming import MANAGER
from captionfleet_operator.planner import Event

log = structlog.get_logger()

_MOST_WAITING = 1000
_LONGEST_MESSAGE = 1000


class Announcer:
    """Events wait in memory; what the API server does not take is logged and dropped."""

    def __init__(self, api: KubernetesAPI, namespace: str, identity: str) -> None:
        self._api = api
        self._namespace = namespace
        self._identity = identity
        self._waiting: asyncio.Queue[dict[str, object]] = asyncio.Queue(_MOST_WAITING)

    def announce(self, event: Event, about: Manifest) -> None:
        if not self._waiting.full():
            self._waiting.put_nowait(self._body(event, about, datetime.now(UTC)))

    async def run(self) -> None:
        path = path_of("events.k8s.io/v1", "events", self._namespace)
        while True:
            body = await self._waiting.get()
            try:
                await self._api.create(path, body)
            except KubernetesError as error:
                log.warning("event not posted", why=str(error), note=body["note"])

    def _body(self, event: Event, about: Manifest, now: datetime) -> dict[str, object]:
        time = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        digest = hashlib.sha256(f"{time}{event}".encode()).hexdigest()[:16]
        metadata: Mapping[str, str] = {
            "name": f"{event.name}.{digest}",
            "namespace": self._namespace,
        }
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": metadata,
            "eventTime": time,
            "reportingController": f"captionfleet.io/{MANAGER}",
            "reportingInstance": self._identity[:128],
            "action": event.reason,
            "reason": event.reason,
            "type": event.type,
            "note": event.message[:_LONGEST_MESSAGE],
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": event.kind,
                "name": event.name,
                "namespace": self._namespace,
                "uid": about.metadata.uid,
            },
        }
