"""What the planner remembers from one turn to the next.

Little, and none of it precious: what must outlive the operator is read back from status.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from captionfleet.resources import ModelStatus, PoolStatus


@dataclass(frozen=True)
class PoolMemory:
    """The size decided last, and since when (Unix seconds) another one would be right."""

    size: int
    more_since: float | None = None
    fewer_since: float | None = None
    worked_at: float = 0.0


@dataclass(frozen=True)
class Memory:
    loaded: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Worker -> models that it was last told to load. A worker unnamed here is adopted as it is."""
    avoided: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(model, worker) -> until when the model is rather tried elsewhere, because it failed here."""
    waiting_since: Mapping[str, float] = field(default_factory=dict)
    """Model -> since when its tasks, or its proof, wait without any copy."""
    proven: Mapping[str, str] = field(default_factory=dict)
    """Model -> fingerprint that passed its smoke test."""
    pools: Mapping[str, PoolMemory] = field(default_factory=dict)
    model_statuses: Mapping[str, ModelStatus] = field(default_factory=dict)
    pool_statuses: Mapping[str, PoolStatus] = field(default_factory=dict)
    told: Mapping[str, object] = field(default_factory=dict)
    """Model -> the facts its status was made from: the same facts need no new status."""
