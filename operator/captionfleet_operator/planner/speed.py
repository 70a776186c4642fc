"""How fast models are, and how many seconds of work wait: measured, never guessed.

The one exception is ASSUMED_RATE, for autoscalers that must hear of work before it is measured.
"""

from captionfleet.messages import CopyState
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.proof import status_before
from captionfleet_operator.planner.world import World

ASSUMED_RATE = 1.0
"""Pictures per second of one copy whose speed nobody measured yet."""


def rate(world: World, memory: Memory, model: str) -> float | None:
    """Pictures per second of one copy; from status if no copy is measured now."""
    measured = [
        best[1]
        for _, copy in world.copies_of(model)
        if copy.state == CopyState.READY and (best := copy.best_rate()) and best[1] > 0
    ]
    if measured:
        return sum(measured) / len(measured)
    return status_before(memory, world.models[model]).performance.images_per_second


def work_seconds(world: World, memory: Memory, model: str) -> float | None:
    """Seconds one copy needs for all tasks of the model; None while its speed is unknown."""
    total = world.total(model)
    if not total:
        return 0.0
    speed = rate(world, memory, model)
    return total / speed if speed else None
