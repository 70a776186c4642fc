"""How fast models are, and how many seconds of work wait: measured, never guessed."""

from captionfleet.messages import CopyState
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.world import World


def rate(world: World, memory: Memory, model: str) -> float | None:
    """Pictures per second of one copy; from status if no copy is measured now."""
    measured = [
        best[1]
        for _, copy in world.copies_of(model, CopyState.READY)
        if (best := copy.best_rate()) and best[1] > 0
    ]
    if measured:
        return sum(measured) / len(measured)
    status = memory.model_statuses.get(model) or world.models[model].manifest.status
    return status.performance.images_per_second if status else None


def work_seconds(world: World, memory: Memory, model: str) -> float | None:
    """Seconds one copy needs for all tasks of the model; None while its speed is unknown."""
    total = world.total(model)
    if not total:
        return 0.0
    speed = rate(world, memory, model)
    return total / speed if speed else None
