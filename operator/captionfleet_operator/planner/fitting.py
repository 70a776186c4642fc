"""Who may run where, and how much memory it takes."""

from captionfleet.messages import Copy, CopyState, Wanted
from captionfleet.resources.model import Device
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.own_code import has_code
from captionfleet_operator.planner.proof import status_before
from captionfleet_operator.planner.seen import ModelSeen, PoolSeen, WorkerSeen, serves
from captionfleet_operator.planner.world import World

GUESSED_BYTES = 2 * 2**30
"""Need of a model of which nothing is known yet."""
_ENGINE_BYTES = 400 * 2**20
"""What an engine takes before its weights: the libraries, and on a GPU the context."""
_WEIGHTS_FACTOR = 1.25
"""Memory over loaded weights: what flows through them, and what is read but not converted yet."""


def pools_for(world: World, model: ModelSeen) -> tuple[PoolSeen, ...]:
    """Pools that take the model, by name; suspended ones do not."""
    return world.takers[model.name].pools


def worker_takes(world: World, model: ModelSeen, worker: WorkerSeen) -> bool:
    """It could run it, and nobody asked to keep it away from there."""
    return could_take(world, model, worker) and not kept_away(world, model, worker)


def kept_away(world: World, model: ModelSeen, worker: WorkerSeen) -> bool:
    """A person asked this worker not to load it."""
    return world.override(worker.id, model.name) in (Wanted.CACHED, Wanted.ABSENT)


def could_take(world: World, model: ModelSeen, worker: WorkerSeen) -> bool:
    """It has the device and, if the model names code that it does not bring, that code."""
    return takes_but_for_code(world, model, worker) and has_code(model, worker)


def takes_but_for_code(world: World, model: ModelSeen, worker: WorkerSeen) -> bool:
    wanted = model.spec.requirements.device
    return worker.pool in world.takers[model.name].names and (
        wanted == Device.ANY or wanted.value == worker.heartbeat.device
    )


def needed_bytes(world: World, memory: Memory, model: ModelSeen, worker: WorkerSeen) -> int | None:
    """Memory one copy takes on this worker: measured, else stated, else from its weights.

    None while nothing is known of it.
    """
    here = worker.copies.get(model.name)
    if here and here.memory_bytes:
        if here.fingerprint == model.fingerprint or serves(here):
            return here.memory_bytes
        # It makes way for one that may need more: its place is kept large enough for both.
        return max(here.memory_bytes, successor_bytes(world, memory, model, worker, here) or 0)
    device = worker.heartbeat.device
    if measured := _measured(world, model, device, current=True):
        return measured
    if stated := model.spec.requirements.bytes_on(device):
        return stated
    if remembered := status_before(memory, model).performance.memory_bytes:
        return remembered
    return _measured(world, model, device, current=False) or estimated_bytes(model, device)


def successor_bytes(
    world: World, memory: Memory, model: ModelSeen, worker: WorkerSeen, old: Copy
) -> int | None:
    """Memory of a copy of the present spec beside `old`, which is made from an earlier one."""
    device = worker.heartbeat.device
    if known := _measured(world, model, device, current=True):
        return known
    if stated := model.spec.requirements.bytes_on(device):
        return stated
    # The change may have brought other weights: the larger of both guesses keeps the old one safe.
    return max(old.memory_bytes or 0, estimated_bytes(model, device) or 0) or None


def _measured(world: World, model: ModelSeen, device: str, *, current: bool) -> int:
    """The largest of its ready copies on such devices, of the present spec or of earlier ones."""
    sizes = [
        copy.memory_bytes
        for worker, copy in world.copies_of(model.name, CopyState.READY)
        if copy.memory_bytes and worker.heartbeat.device == device
        if (copy.fingerprint == model.fingerprint) == current
    ]
    return max(sizes, default=0)


def estimated_bytes(model: ModelSeen, device: str) -> int | None:
    """By its weights, as they load on such a device; None where nobody could look."""
    if model.weights is None:
        return None
    loaded = model.weights.loaded(model.spec.weight_width(device))
    return int(loaded * _WEIGHTS_FACTOR) + _ENGINE_BYTES
