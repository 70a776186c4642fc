"""The environment a local worker is started with: what it needs, and none of our secrets."""

import os
from collections.abc import Mapping
from pathlib import Path

from captionfleet.resources import PoolManifest
from captionfleet_operator.settings import OperatorSettings

_NOT_FOR_WORKERS = ("CAPTIONFLEET_TOKEN", "CAPTIONFLEET_DATABASE_URL")
"""A worker needs only the broker."""


def worker_environment(
    inherited: Mapping[str, str],
    settings: OperatorSettings,
    custom: Path,
    pool: PoolManifest,
    worker: str,
) -> dict[str, str]:
    """Inherited variables, then the pool's own, then the worker's identity, which always wins."""
    data = settings.data.resolve()
    logs = data / "logs" / worker
    return {
        **{name: value for name, value in inherited.items() if name not in _NOT_FOR_WORKERS},
        "CAPTIONFLEET_THREADS": str(threads(pool)),
        "CAPTIONFLEET_ENGINE_ENV": ",".join(
            [inherited.get("CAPTIONFLEET_ENGINE_ENV", ""), *pool.spec.env]
        ),
        **pool.spec.env,
        "RABBITMQ_URL": settings.rabbitmq_url.get_secret_value(),
        "CAPTIONFLEET_FLEET": settings.fleet,
        "CAPTIONFLEET_CUSTOM_INFER": str(custom),
        "CAPTIONFLEET_LOG_LEVEL": settings.log_level,
        "CAPTIONFLEET_LOG_FORMAT": settings.log_format,
        "CAPTIONFLEET_POOL": pool.name,
        "CAPTIONFLEET_WORKER": worker,
        "CAPTIONFLEET_DEVICE": pool.spec.device.type.value,
        "CAPTIONFLEET_DATA": str(data / "workers" / worker),
        "CAPTIONFLEET_LOGS": str(logs),
        "CAPTIONFLEET_METRICS_PORT": "0",
        "CAPTIONFLEET_DRAIN_SECONDS": str(pool.spec.drain.timeout_seconds),
        **_hub(pool),
    }


def _hub(pool: PoolManifest) -> dict[str, str]:
    """Of the fields made for pods, those that mean the same to a process."""
    spec, variables = pool.spec, {}
    if spec.hub.offline:
        variables["CAPTIONFLEET_OFFLINE"] = "1"
    if spec.hub.endpoint:
        variables["HF_ENDPOINT"] = spec.hub.endpoint
    if spec.cache.host_path:
        variables["CAPTIONFLEET_CACHE"] = spec.cache.host_path
        variables["CAPTIONFLEET_CACHE_WATERMARK"] = str(spec.cache.high_watermark_percent)
    return variables


def threads(pool: PoolManifest) -> int:
    """The machine's cores, shared between as many workers as the pool may have."""
    spec = pool.spec
    workers = spec.autoscaling.max_replicas if spec.replicas is None else spec.replicas
    return max(1, _cores() // max(1, workers))


def _cores() -> int:
    """Cores this process may use: the CPU mask, and a container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return min(cores or 1, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or "max"
        return cores or 1
