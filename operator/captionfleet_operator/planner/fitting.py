"""Who may run where, and how much memory it takes."""

from captionfleet.messages import CopyState
from captionfleet.resources.model import Device
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.world import ModelSeen, PoolSeen, WorkerSeen, World

GUESSED_BYTES = 2 * 2**30
"""Need of a model of which nothing is known yet."""
_ENGINE_BYTES = 400 * 2**20
"""What an engine takes before its weights: the libraries, and on a GPU the context."""
_WEIGHTS_FACTOR = 1.5
"""Memory over weight bytes: activations, and half precision files loaded in full precision."""


def pool_refuses(model: ModelSeen, pool: PoolSeen) -> str:
    """Why a pool does not take a model, naming the fields; empty if it does."""
    for selector, labels, field in (
        (pool.spec.model_selector, model.manifest.metadata.labels, "modelSelector"),
        (model.spec.pool_selector, pool.manifest.metadata.labels, "poolSelector"),
    ):
        if not selector.matches(labels):
            wanted = ", ".join(f"{k}={v}" for k, v in sorted(selector.match_labels.items()))
            side = "the pool's" if field == "modelSelector" else "the model's"
            return f"{side} {field} wants {wanted}"
    device = model.spec.requirements.device
    if device != Device.ANY and device.value != pool.spec.device.type.value:
        return f"requirements.device is {device.value}, the pool has {pool.spec.device.type.value}"
    return ""


def pools_for(world: World, model: ModelSeen) -> list[PoolSeen]:
    """Pools that take the model, by name; suspended ones do not."""
    return [
        pool
        for _, pool in sorted(world.pools.items())
        if not pool.spec.suspend and not pool_refuses(model, pool)
    ]


def worker_takes(world: World, model: ModelSeen, worker: WorkerSeen) -> bool:
    pool = world.pools.get(worker.pool)
    wanted = model.spec.requirements.device
    return (
        pool is not None
        and not pool.spec.suspend
        and not pool_refuses(model, pool)
        and (wanted == Device.ANY or wanted.value == worker.heartbeat.device)
    )


def needed_bytes(world: World, memory: Memory, model: ModelSeen, worker: WorkerSeen) -> int | None:
    """Memory one copy takes on this worker: measured, else stated, else from its weights.

    None while nothing is known of it.
    """
    name = model.manifest.name
    here = worker.copies.get(name)
    if here and here.memory_bytes:
        return here.memory_bytes
    device = worker.heartbeat.device
    measured = [
        copy.memory_bytes
        for other, copy in world.copies_of(name, CopyState.READY)
        if copy.memory_bytes and other.heartbeat.device == device
    ]
    if measured:
        return max(measured)
    if stated := model.spec.requirements.bytes_on(device):
        return stated
    status = memory.model_statuses.get(name) or model.manifest.status
    if status and status.performance.memory_bytes:
        return status.performance.memory_bytes
    if model.weight_bytes is not None:
        return int(model.weight_bytes * _WEIGHTS_FACTOR) + _ENGINE_BYTES
    return None


def gigabytes(size: int) -> str:
    """For people: 1.2 GB, or 340 MB below one."""
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{max(size, 0) / 1e6:.0f} MB"
