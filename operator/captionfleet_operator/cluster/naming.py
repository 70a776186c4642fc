"""Names and labels of what the operator makes for a pool."""

from typing import Final

MANAGER: Final = "captionfleet-operator"
"""Field manager of every write, and value of the managed-by label."""
POOL_LABEL: Final = "captionfleet.io/pool"
APPLIED: Final = "captionfleet.io/applied"
"""Annotation with the digest of what was applied last."""
DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
METRICS_PORT: Final = 8001


def child_name(pool: str) -> str:
    return f"capw-{pool}"


def cache_claim_name(pool: str) -> str:
    return f"capw-{pool}-cache"


def pod_labels(pool: str) -> dict[str, str]:
    """What selects the pool's pods, and nothing else. Never changes: selectors cannot."""
    return {"app.kubernetes.io/component": "worker", POOL_LABEL: pool}


def child_labels(pool: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "captionfleet",
        "app.kubernetes.io/managed-by": MANAGER,
        **pod_labels(pool),
    }


def selector_text(pool: str) -> str:
    """The same as text, for the scale subresource."""
    return ",".join(f"{name}={value}" for name, value in sorted(pod_labels(pool).items()))
