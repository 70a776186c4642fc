"""CaptionWorkerPool.spec: a group of like workers and how many of them there should be."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from captionfleet.resources.base import Labels, LabelSelector, Resource, keys, rule, rules
from captionfleet.resources.pool_pods import (
    Cache,
    Name,
    PoolVolume,
    Scheduling,
    SecretKey,
    WorkerResources,
)


class PoolDeviceType(StrEnum):
    CPU = "CPU"
    GPU = "GPU"


class PoolDevice(Resource):
    model_config = rules(
        rule(
            "self.type != 'CPU' || !has(self.resourceName)",
            "device.resourceName names a kind of GPU: remove it, or set device.type to GPU",
        ),
        rule(
            "self.type != 'CPU' || !has(self.count)",
            "device.count counts GPUs: remove it, or set device.type to GPU",
        ),
    )
    type: PoolDeviceType
    """CPU or GPU."""
    resource_name: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = None
    """Extended resource that a GPU worker asks Kubernetes for. Default: nvidia.com/gpu."""
    count: Annotated[int, Field(ge=1, le=64)] | None = None
    """How many of them one worker gets. Default: 1."""


class Hosting(Resource):
    max_models: Annotated[int, Field(ge=1, le=1000)] = 32
    """Most models loaded on one worker. A ceiling: memory decides below it."""
    memory_headroom_percent: Annotated[int, Field(ge=0, le=90)] = 15
    """Percent of a worker's memory that is never planned."""
    max_concurrent_loads: Annotated[int, Field(ge=1, le=64)] = 1
    """Most models one worker loads at a time. Engines that died count apart, downloads do not."""


class AutoscalingMode(StrEnum):
    BUILTIN = "Builtin"
    EXTERNAL = "External"
    OFF = "Off"


class ScaleUp(Resource):
    stabilization_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    """Seconds a need must last before workers are added."""
    max_step: Annotated[int, Field(ge=1, le=1000)] = 2
    """Most workers added at once."""


class ScaleDown(Resource):
    stabilization_seconds: Annotated[int, Field(ge=0, le=86400)] = 60
    """Seconds without need before workers are removed."""
    max_step: Annotated[int, Field(ge=1, le=1000)] = 1
    """Most workers removed at once."""


class Autoscaling(Resource):
    model_config = rules(
        rule("self.minReplicas <= self.maxReplicas", "minReplicas must not be above maxReplicas"),
    )
    mode: AutoscalingMode = AutoscalingMode.BUILTIN
    """Builtin sizes the pool by seconds of waiting work. Off keeps spec.replicas. External keeps
    spec.replicas too, which kubectl scale, an HPA or KEDA then writes."""
    min_replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Fewest workers."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = 4
    """Most workers."""
    target_backlog_seconds: Annotated[int, Field(ge=1, le=86400)] = 30
    """Seconds of waiting work per worker that are fine; more work adds workers."""
    scale_up: ScaleUp = ScaleUp()
    """How fast the pool grows."""
    scale_down: ScaleDown = ScaleDown()
    """How fast the pool shrinks."""
    scale_to_zero_after_seconds: Annotated[int, Field(ge=1, le=604800)] = 600
    """Seconds without any work before the last worker of a pool with minReplicas 0 ends."""


class Drain(Resource):
    timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = 300
    """Longest time a leaving worker may take to finish what it runs."""


class Hub(Resource):
    endpoint: (
        Annotated[
            str,
            StringConstraints(
                pattern=r"^https?://[-a-zA-Z0-9.]+(:[0-9]{1,5})?(/[^ ]*)?$", max_length=253
            ),
        ]
        | None
    ) = None
    """Address of the hub for the workers of this pool, as HF_ENDPOINT. A model's own wins."""
    offline: bool = False
    """True never asks a hub: models load from the cache or not at all."""
    token_secret_ref: SecretKey | None = None
    """Secret with a hub token for gated and private repositories, on Kubernetes."""


class Broker(Resource):
    secret_ref: SecretKey | None = None
    """Secret with the broker's address. Default: the one of the installation."""


class Rollout(Resource):
    max_surge: Annotated[int, Field(ge=0, le=1000)] = 1
    """Most workers above the wanted number while workers are replaced by new ones."""
    max_unavailable: Annotated[int, Field(ge=0, le=1000)] = 0
    """Most workers missing while workers are replaced by new ones."""


class Monitoring(Resource):
    service_monitor: bool = True
    """Make a ServiceMonitor for Prometheus, where the cluster knows that kind."""
    labels: Labels = {}
    """Labels of the ServiceMonitor, by which a Prometheus selects it."""


class NetworkPolicy(Resource):
    enabled: bool = True
    """Let nothing in but to the metrics port, and out only to the ports of name servers, broker
    and hub."""


ENVIRONMENT_NAMES = keys(
    253,
    rule(
        "self.all(key, key.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",
        "keys are names of environment variables: letters, digits and _, no digit first",
    ),
)


class PoolSpec(Resource):
    model_config = rules(
        rule(
            "self.autoscaling.mode != 'Builtin' || !has(self.replicas)",
            "replicas is decided by autoscaling: remove it, or set autoscaling.mode to Off or"
            " External",
        ),
        rule(
            "self.autoscaling.mode == 'Builtin' || has(self.replicas)",
            "replicas is needed when autoscaling.mode is Off or External",
        ),
        rule(
            "!self.hub.offline || self.cache.type != 'EmptyDir'",
            "hub.offline needs a cache that lasts: set cache.type to PVC or HostPath",
        ),
        rule(
            "self.rollout.maxSurge + self.rollout.maxUnavailable >= 1",
            "rollout.maxSurge and rollout.maxUnavailable must not both be 0",
        ),
    )
    device: PoolDevice
    """What the workers compute on."""
    image: Annotated[str, StringConstraints(max_length=512)] | None = None
    """Image of the workers. Default: the one of the installation."""
    image_pull_secrets: Annotated[list[Name], Field(max_length=8)] = []
    """Names of Secrets with which the image is pulled."""
    model_selector: LabelSelector = LabelSelector()
    """Labels of the models that may run here. Model and pool must agree."""
    hosting: Hosting = Hosting()
    """How models share a worker."""
    replicas: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Number of workers when autoscaling.mode is Off or External."""
    autoscaling: Autoscaling = Autoscaling()
    """How the number of workers follows the work."""
    drain: Drain = Drain()
    """How workers leave."""
    rollout: Rollout = Rollout()
    """How workers are replaced when the pool changes."""
    cache: Cache = Cache()
    """Where downloaded models are kept."""
    volumes: Annotated[list[PoolVolume], Field(max_length=16)] = []
    """Claims with models, mounted read-only at /volumes/CLAIM."""
    hub: Hub = Hub()
    """Where models are downloaded from."""
    broker: Broker = Broker()
    """How the workers reach the broker."""
    scheduling: Scheduling = Scheduling()
    """Which nodes take the workers."""
    resources: WorkerResources = WorkerResources()
    """What one worker asks of its node."""
    env: Annotated[
        dict[str, Annotated[str, StringConstraints(max_length=4096)]],
        Field(max_length=64, json_schema_extra=ENVIRONMENT_NAMES),
    ] = {}
    """Environment variables for the workers."""
    monitoring: Monitoring = Monitoring()
    """How the workers are observed."""
    network_policy: NetworkPolicy = NetworkPolicy()
    """Whom the workers may talk to."""
    suspend: bool = False
    """True drains every worker of the pool."""
