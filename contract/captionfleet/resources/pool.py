"""CaptionWorkerPool.spec: a group of like workers and how many of them there should be."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from captionfleet.resources.base import LabelSelector, Resource, rule, rules


class PoolDeviceType(StrEnum):
    CPU = "CPU"
    GPU = "GPU"


class PoolDevice(Resource):
    type: PoolDeviceType
    """CPU or GPU."""


class Hosting(Resource):
    max_models: Annotated[int, Field(ge=1, le=1000)] = 32
    """Most models loaded on one worker. A ceiling: memory decides below it."""
    memory_headroom_percent: Annotated[int, Field(ge=0, le=90)] = 15
    """Percent of a worker's memory that is never planned."""
    max_concurrent_loads: Annotated[int, Field(ge=1, le=64)] = 1
    """Most models one worker loads at the same time."""


class AutoscalingMode(StrEnum):
    BUILTIN = "Builtin"
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
    """Builtin sizes the pool by seconds of waiting work; Off keeps spec.replicas."""
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


EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*$", max_length=253)]


class PoolSpec(Resource):
    model_config = rules(
        rule(
            "self.autoscaling.mode != 'Builtin' || !has(self.replicas)",
            "replicas is decided by autoscaling: remove it, or set autoscaling.mode to Off",
        ),
        rule(
            "self.autoscaling.mode == 'Builtin' || has(self.replicas)",
            "replicas is needed when autoscaling.mode is Off",
        ),
    )
    device: PoolDevice
    """What the workers compute on."""
    model_selector: LabelSelector = LabelSelector()
    """Labels of the models that may run here. Model and pool must agree."""
    hosting: Hosting = Hosting()
    """How models share a worker."""
    replicas: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Number of workers when autoscaling.mode is Off."""
    autoscaling: Autoscaling = Autoscaling()
    """How the number of workers follows the work."""
    drain: Drain = Drain()
    """How workers leave."""
    env: Annotated[
        dict[EnvironmentName, Annotated[str, StringConstraints(max_length=4096)]],
        Field(max_length=64),
    ] = {}
    """Environment variables for the workers."""
    suspend: bool = False
    """True drains every worker of the pool."""
