"""CaptionWorkerPool.status: written by the operator alone."""

from typing import Annotated

from pydantic import Field

from captionfleet.resources.base import Resource
from captionfleet.resources.model_status import LONGEST_LIST, Conditions

LONGEST_WORKERS_LIST = 100
KEPT_DECISIONS = 10


class WorkerStatus(Resource):
    id: str
    """Name of the worker."""
    ready: bool
    """Heard from, and not leaving."""
    draining: bool = False
    """Leaving."""
    external: bool = False
    """Joined from outside: placed on, never started or stopped by us."""
    models: Annotated[list[str], Field(max_length=LONGEST_LIST)] = []
    """Models loaded here, the first 64 by name."""
    in_flight: int = 0
    """Tasks held."""


class ScalingDecision(Resource):
    time: str
    """When, RFC 3339."""
    from_: int = Field(alias="from")
    """Workers before."""
    to: int
    """Workers after."""
    reason: str
    """Why, in one sentence."""


class PoolStatus(Resource):
    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    replicas: int = 0
    """Workers there are."""
    ready_replicas: int = 0
    """Workers heard from and not leaving."""
    desired_replicas: int = 0
    """Workers the plan wants."""
    selector: str = ""
    """Labels of the pool's pods, for the scale subresource. Empty without Kubernetes."""
    summary: str = "0/0"
    """readyReplicas/desiredReplicas."""
    models_loaded: int = 0
    """Copies loaded on all workers."""
    backlog_seconds: float | None = None
    """Seconds that one worker would need for all work that waits for this pool, in every
    autoscaling mode and without workers too. A model whose speed is unknown counts one picture
    per second, a model that is still to be proven one second."""
    wait: str = ""
    """How long the measured part of it takes the workers there are, for people."""
    message: str = ""
    """What the pool is doing, in one sentence."""
    workers: Annotated[list[WorkerStatus], Field(max_length=LONGEST_WORKERS_LIST)] = []
    """The workers there are, the first 100 by name."""
    scaling_history: Annotated[list[ScalingDecision], Field(max_length=KEPT_DECISIONS)] = []
    """The last 10 changes of size, newest first."""
    conditions: Conditions = []
    """Ready, BrokerReachable, ScalingLimited, Suspended."""
