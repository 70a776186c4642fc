"""Watches one namespace through kopf's low-level events, and reads it whole now and then.

A watch may miss what happened while it was interrupted; the whole reading finds it.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import kopf
import structlog

from captionfleet.catalog.kubernetes_api import KubernetesAPI, KubernetesError, path_of
from captionfleet_operator.cluster.kinds import (
    CHILDREN,
    MODEL,
    POD,
    POOL,
    SERVICE_MONITOR,
    Kind,
)
from captionfleet_operator.cluster.naming import MANAGER, POOL_LABEL

log = structlog.get_logger()

RESYNC_SECONDS = 45.0
"""Drift that no watch tells of is repaired within a minute."""
WATCHED = (MODEL, POOL, POD, *(kind for kind in CHILDREN if kind != SERVICE_MONITOR))
"""ServiceMonitors are only read with the rest: not every cluster knows them."""

Object = Mapping[str, Any]


class Seer(Protocol):
    """Takes in what is seen of one kind."""

    def see(self, kind: Kind, body: Object, *, gone: bool) -> None: ...

    def see_all(self, kind: Kind, items: list[Object], version: str) -> None: ...


def registry_for(seer: Seer) -> kopf.OperatorRegistry:
    """Handlers that only pass on what is seen: no finalizers, no annotations, no writes."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**facts: Any) -> kopf.ConnectionInfo | None:
        # In the order of our own client: a KUBECONFIG wins over the pod's account.
        if "KUBECONFIG" in os.environ:
            return kopf.login_with_kubeconfig(**facts)
        return kopf.login_with_service_account(**facts) or kopf.login_with_kubeconfig(**facts)

    for kind in WATCHED:
        kopf.on.event(
            group=kind.group, version=kind.version, plural=kind.plural,
            id=f"see-{kind.plural}", registry=registry,
        )(_handler(seer, kind))  # fmt: skip
    return registry


def _handler(seer: Seer, kind: Kind) -> Callable[..., Awaitable[None]]:
    async def see(event: Mapping[str, Any], **_: Any) -> None:
        seer.see(kind, event["object"], gone=event["type"] == "DELETED")

    return see


def settings_for(identity: str) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True  # rights in one namespace are enough
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.posting.reporting_instance = identity
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.watching.server_timeout = 300
    for kind in WATCHED:
        if selector := selector_of(kind):
            key = (kind.group, kind.version, kind.plural)
            settings.watching.label_selectors[key] = selector
    return settings


def selector_of(kind: Kind) -> str:
    """What of a kind concerns us: everything of ours, the pods of pools, and children."""
    if kind in (MODEL, POOL):
        return ""
    return POOL_LABEL if kind == POD else f"{POOL_LABEL},app.kubernetes.io/managed-by={MANAGER}"


async def read_all(api: KubernetesAPI, namespace: str, seer: Seer) -> bool:
    """Read the namespace whole. Returns whether the cluster knows ServiceMonitors."""
    monitored = await _knows(api, SERVICE_MONITOR)
    for kind in (*WATCHED, SERVICE_MONITOR) if monitored else WATCHED:
        selector = selector_of(kind)
        query = {"labelSelector": selector} if selector else {}
        path = path_of(kind.api_version, kind.plural, namespace)
        listed = await api.list(path, **query)
        # Items of a list do not name their kind.
        named = {"apiVersion": kind.api_version, "kind": kind.kind}
        items: list[Object] = [{**named, **item} for item in listed["items"]]
        seer.see_all(kind, items, listed["metadata"]["resourceVersion"])
    return monitored


async def _knows(api: KubernetesAPI, kind: Kind) -> bool:
    found = await api.get(f"/apis/{kind.api_version}")
    return any(each["name"] == kind.plural for each in (found or {}).get("resources", ()))


async def read_now_and_then(read: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(RESYNC_SECONDS)
        try:
            await read()
        except KubernetesError as error:
            log.warning("the namespace could not be read; tried again", why=str(error))
