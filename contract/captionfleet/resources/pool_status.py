"""CaptionWorkerPool.status: written by the operator alone."""

from pydantic import Field

from captionfleet.resources.base import Resource
from captionfleet.resources.model_status import Conditions


class WorkerStatus(Resource):
    id: str
    """Name of the worker."""
    ready: bool
    """Heard from, and not leaving."""
    draining: bool = False
    """Leaving."""
    external: bool = False
    """Joined from outside: placed on, never started or stopped by us."""
    models: list[str] = []
    """Models loaded here."""
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
    """Seconds of waiting work per worker."""
    wait: str = ""
    """The same for people."""
    message: str = ""
    """What the pool is doing, in one sentence."""
    workers: list[WorkerStatus] = []
    """Every worker there is."""
    scaling_history: list[ScalingDecision] = []
    """The last 10 changes of size, newest first."""
    conditions: Conditions = []
    """Ready."""
