"""The Deployment of a pool: one pod per worker, under the restricted Pod Security standard."""

from typing import Any

from captionfleet.resources import PoolManifest
from captionfleet.resources.base import quantity_bytes
from captionfleet.resources.pool import PoolDeviceType
from captionfleet.resources.pool_pods import CacheType
from captionfleet_operator.cluster.naming import (
    METRICS_PORT,
    cache_claim_name,
    child_labels,
    child_name,
    pod_labels,
)
from captionfleet_operator.model_assignments import VOLUMES_FOLDER
from captionfleet_operator.settings import OperatorSettings

USER = 10001
"""The user of the worker's image."""
GRACE_MARGIN_SECONDS = 30
"""A worker that obeys its drain limit is not killed in the act of leaving."""
_STARTING_SECONDS = 600
"""Longest time until a first heartbeat; a broker may be away that long."""
_SCRATCH = {"tmp": ("/tmp", "2Gi"), "data": ("/data", "2Gi")}  # noqa: S108 - of the pod alone

Manifest = dict[str, Any]


def deployment(pool: PoolManifest, replicas: int, settings: OperatorSettings) -> Manifest:
    spec = pool.spec
    return {
        "replicas": replicas,
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": pod_labels(pool.name)},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {
                "maxSurge": spec.rollout.max_surge,
                "maxUnavailable": spec.rollout.max_unavailable,
            },
        },
        "template": {
            "metadata": {"labels": child_labels(pool.name)},
            "spec": _pod(pool, settings),
        },
    }


def _pod(pool: PoolManifest, settings: OperatorSettings) -> Manifest:
    spec, where = pool.spec, pool.spec.scheduling
    secrets = spec.image_pull_secrets or [s for s in settings.worker_pull_secrets.split(",") if s]
    wanted: Manifest = {
        "serviceAccountName": child_name(pool.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": spec.drain.timeout_seconds + GRACE_MARGIN_SECONDS,
        "imagePullSecrets": [{"name": name} for name in secrets],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": where.node_selector,
        "tolerations": where.tolerations,
        "affinity": where.affinity,
        "topologySpreadConstraints": where.topology_spread_constraints,
        "priorityClassName": where.priority_class_name,
        "runtimeClassName": where.runtime_class_name,
        "containers": [_container(pool, settings)],
        "volumes": _volumes(pool),
    }
    return {field: value for field, value in wanted.items() if value not in (None, {}, [])}


def _container(pool: PoolManifest, settings: OperatorSettings) -> Manifest:
    return {
        "name": "worker",
        "image": pool.spec.image or settings.worker_image,
        "imagePullPolicy": settings.worker_pull_policy,
        "command": ["python", "-m", "captionfleet_worker"],
        "env": _environment(pool, settings),
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/startupz", period=5, failures=_STARTING_SECONDS // 5),
        # Neither looks at the broker: restarting workers does not bring one back.
        "livenessProbe": _probe("/livez", period=10, failures=6),
        "readinessProbe": _probe("/readyz", period=5, failures=2),
        "resources": _resources(pool),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # What a crashed worker said last reaches the pool's status without rights to read logs.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(pool),
    }


def _probe(path: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "metrics", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
        "successThreshold": 1,
    }


def _environment(pool: PoolManifest, settings: OperatorSettings) -> list[Manifest]:
    """The pool's own variables first: the worker's identity always wins."""
    spec = pool.spec
    texts = {
        "CAPTIONFLEET_FLEET": settings.fleet,
        "CAPTIONFLEET_POOL": pool.name,
        "CAPTIONFLEET_DEVICE": spec.device.type.value,
        "CAPTIONFLEET_LOG_LEVEL": settings.log_level,
        "CAPTIONFLEET_LOG_FORMAT": settings.log_format,
        "CAPTIONFLEET_METRICS_HOST": "0.0.0.0",  # noqa: S104 - the pod's own network
        "CAPTIONFLEET_METRICS_PORT": str(METRICS_PORT),
        "CAPTIONFLEET_DRAIN_SECONDS": str(spec.drain.timeout_seconds),
        "CAPTIONFLEET_DATA": "/data",
        "CAPTIONFLEET_CACHE": "/cache",
        "CAPTIONFLEET_CACHE_WATERMARK": str(spec.cache.high_watermark_percent),
        "HOME": "/data",
    }
    if limit := _cache_limit(pool):
        texts["CAPTIONFLEET_CACHE_LIMIT"] = str(limit)
    if spec.hub.offline:
        texts["CAPTIONFLEET_OFFLINE"] = "1"
    if spec.hub.endpoint:
        texts["HF_ENDPOINT"] = spec.hub.endpoint
    # A person's own code sees what its pool was given; engines see little else.
    passed_on = {"CAPTIONFLEET_ENGINE_ENV": ",".join(spec.env)} if spec.env else {}
    variables: dict[str, Manifest] = {
        name: {"value": value} for name, value in (passed_on | spec.env | texts).items()
    }
    broker, _, key = settings.broker_secret.partition("/")
    ref = spec.broker.secret_ref
    variables["RABBITMQ_URL"] = _from_secret(ref.name if ref else broker, ref.key if ref else key)
    if token := spec.hub.token_secret_ref:
        variables["HF_TOKEN"] = _from_secret(token.name, token.key)
    variables["CAPTIONFLEET_WORKER"] = {
        "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
    }
    return [{"name": name, **variable} for name, variable in variables.items()]


def _from_secret(name: str, key: str) -> Manifest:
    return {"valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def _resources(pool: PoolManifest) -> Manifest:
    stated, device = pool.spec.resources, pool.spec.device
    limits = dict(stated.limits)
    if device.type == PoolDeviceType.GPU:
        limits[device.resource_name or "nvidia.com/gpu"] = str(device.count or 1)
    wanted = {"requests": dict(stated.requests), "limits": limits}
    return {field: value for field, value in wanted.items() if value}


def _mounts(pool: PoolManifest) -> list[Manifest]:
    own = [{"name": name, "mountPath": path} for name, (path, _) in _SCRATCH.items()]
    own.append({"name": "cache", "mountPath": "/cache"})
    claims = [
        {
            "name": _volume_name(index),
            "mountPath": f"{VOLUMES_FOLDER}/{volume.claim_name}",
            "readOnly": True,
        }
        for index, volume in enumerate(pool.spec.volumes)
    ]
    return own + claims


def _volumes(pool: PoolManifest) -> list[Manifest]:
    own = [{"name": name, "emptyDir": {"sizeLimit": size}} for name, (_, size) in _SCRATCH.items()]
    claims = [
        {
            "name": _volume_name(index),
            "persistentVolumeClaim": {"claimName": volume.claim_name, "readOnly": True},
        }
        for index, volume in enumerate(pool.spec.volumes)
    ]
    return [*own, {"name": "cache", **_cache(pool)}, *claims]


def _cache(pool: PoolManifest) -> Manifest:
    cache = pool.spec.cache
    if cache.type == CacheType.HOST_PATH:
        return {"hostPath": {"path": cache.host_path, "type": "DirectoryOrCreate"}}
    if cache.type == CacheType.PVC:
        claim = cache.claim_name or cache_claim_name(pool.name)
        return {"persistentVolumeClaim": {"claimName": claim}}
    return {"emptyDir": {"sizeLimit": cache.size_limit}}


def _cache_limit(pool: PoolManifest) -> int | None:
    """Bytes, where sizeLimit bounds the cache: the disk below it may be larger, and a pod that
    fills its share is evicted."""
    cache = pool.spec.cache
    ours = cache.type == CacheType.EMPTY_DIR or (
        cache.type == CacheType.PVC and not cache.claim_name
    )
    return quantity_bytes(cache.size_limit) if ours else None


def _volume_name(index: int) -> str:
    """Claims' names may be too long for a volume's."""
    return f"models-{index}"
