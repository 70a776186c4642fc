"""Everything a pool is made of on Kubernetes, as manifests to apply. Pure."""

import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

from captionfleet.resources import PoolManifest
from captionfleet.resources.pool_pods import CacheType
from captionfleet_operator.cluster.deployment import Manifest, deployment
from captionfleet_operator.cluster.kinds import (
    BUDGET,
    CLAIM,
    DEPLOYMENT,
    POLICY,
    SERVICE,
    SERVICE_ACCOUNT,
    SERVICE_MONITOR,
    Kind,
)
from captionfleet_operator.cluster.naming import (
    APPLIED,
    METRICS_PORT,
    cache_claim_name,
    child_labels,
    child_name,
    pod_labels,
)
from captionfleet_operator.settings import OperatorSettings

Key = tuple[str, str]
"""(kind, name) of one object in the fleet's namespace."""

_SCRAPE_INTERVAL = "15s"
_HTTPS_PORT = 443


def children(
    pool: PoolManifest, replicas: int, settings: OperatorSettings, *, monitored: bool
) -> dict[Key, Manifest]:
    """`monitored`: the cluster knows ServiceMonitors."""
    name, spec = child_name(pool.name), pool.spec
    wanted = [
        _child(pool, SERVICE_ACCOUNT, name, {"automountServiceAccountToken": False}),
        _child(pool, SERVICE, name, {"spec": _service(pool.name)}),
        _child(pool, BUDGET, name, {"spec": _budget(pool.name)}),
        _child(pool, DEPLOYMENT, name, {"spec": deployment(pool, replicas, settings)}),
    ]
    if spec.cache.type == CacheType.PVC and spec.cache.claim_name is None:
        claim = cache_claim_name(pool.name)
        wanted.append(_child(pool, CLAIM, claim, {"spec": _cache_claim(pool)}))
    if spec.network_policy.enabled:
        wanted.append(_child(pool, POLICY, name, {"spec": _network_policy(pool, settings)}))
    if monitored and spec.monitoring.service_monitor:
        monitor = _child(pool, SERVICE_MONITOR, name, {"spec": _service_monitor(pool.name)})
        labels = spec.monitoring.labels | monitor["metadata"]["labels"]
        monitor["metadata"]["labels"] = labels
        wanted.append(monitor)
    return {(each["kind"], each["metadata"]["name"]): _stamped(each) for each in wanted}


def _child(pool: PoolManifest, kind: Kind, name: str, body: Manifest) -> Manifest:
    owner = {
        "apiVersion": pool.api_version,
        "kind": pool.kind,
        "name": pool.name,
        "uid": pool.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    metadata = {"name": name, "labels": child_labels(pool.name), "ownerReferences": [owner]}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **body}


def _stamped(manifest: Manifest) -> Manifest:
    """With the digest of itself: what was applied once need not be applied again."""
    text = json.dumps(manifest, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    manifest["metadata"]["annotations"] = {APPLIED: digest}
    return manifest


def _service(pool: str) -> Manifest:
    """Has no address of its own: it only lists the pods, ready or not, for whoever scrapes."""
    return {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": pod_labels(pool),
        "ports": [
            {"name": "metrics", "port": METRICS_PORT, "targetPort": "metrics", "protocol": "TCP"}
        ],
    }


def _service_monitor(pool: str) -> Manifest:
    return {
        "selector": {"matchLabels": pod_labels(pool)},
        "endpoints": [{"port": "metrics", "path": "/metrics", "interval": _SCRAPE_INTERVAL}],
    }


def _budget(pool: str) -> Manifest:
    return {
        "maxUnavailable": 1,
        "selector": {"matchLabels": pod_labels(pool)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }


def _cache_claim(pool: PoolManifest) -> Manifest:
    cache = pool.spec.cache
    spec: dict[str, Any] = {
        "accessModes": [cache.access_mode.value],
        "resources": {"requests": {"storage": cache.size_limit}},
    }
    if cache.storage_class_name:
        spec["storageClassName"] = cache.storage_class_name
    return spec


def _network_policy(pool: PoolManifest, settings: OperatorSettings) -> Manifest:
    """In: whoever scrapes. Out: the ports of name servers, broker and, unless offline, hubs."""
    names = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    ports = {_port(settings.rabbitmq_url.get_secret_value())}
    if pool.spec.broker.secret_ref:
        ports |= {5671, 5672}
    if not pool.spec.hub.offline:
        ports.add(_HTTPS_PORT)
        if pool.spec.hub.endpoint:
            ports.add(_port(pool.spec.hub.endpoint))
    out = [{"port": port, "protocol": "TCP"} for port in sorted(ports)]
    return {
        "podSelector": {"matchLabels": pod_labels(pool.name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": METRICS_PORT, "protocol": "TCP"}]}],
        "egress": [{"ports": names}, {"ports": out}],
    }


def _port(url: str) -> int:
    usual = {"amqp": 5672, "amqps": 5671, "http": 80}
    try:
        parts = urlsplit(url)
        return parts.port or usual.get(parts.scheme, _HTTPS_PORT)
    except ValueError:  # no such port: the worker will say so, with the address
        return _HTTPS_PORT
