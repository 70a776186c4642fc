"""What became of each override: done, on its way with live numbers, or why it cannot be done."""

from captionfleet.messages import Copy, CopyState, OverrideState, Wanted
from captionfleet.resources.model import Device
from captionfleet_operator.planner.fitting import could_take, takes_but_for_code
from captionfleet_operator.planner.matching import pool_refuses
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.own_code import code_missing
from captionfleet_operator.planner.placement import Placement
from captionfleet_operator.planner.seen import ModelSeen, WorkerSeen
from captionfleet_operator.planner.sentences import copy_sentence, how_far
from captionfleet_operator.planner.world import World


def override_states(
    world: World, memory: Memory, placement: Placement
) -> dict[str, dict[str, OverrideState]]:
    """Worker -> model -> state, for the workers that are heard."""
    return {
        worker: {
            name: _state(world, memory, placement, world.workers[worker], name, wanted).model_copy(
                update={"wanted": wanted}
            )
            for name, wanted in asked.items()
        }
        for worker, asked in sorted(world.overrides.items())
        if worker in world.workers
    }


def _state(
    world: World,
    memory: Memory,
    placement: Placement,
    worker: WorkerSeen,
    name: str,
    wanted: Wanted,
) -> OverrideState:
    model = world.models.get(name)
    if model is None:
        return _refused(f"there is no model {name} any more")
    if worker.draining:
        return _refused(f"{worker.id} is draining: it takes nothing new, and this ends with it")
    if not worker.fresh:
        return _refused(f"{worker.id} has not been heard for {round(worker.silent_seconds)} s")
    if wanted != Wanted.ABSENT and (why := _why_never(world, model, worker)):
        return _refused(why)
    copy = worker.copies.get(name)
    if wanted == Wanted.LOADED:
        return _loaded(memory, placement, model, worker, copy)
    if copy:
        return OverrideState(message="unloading: it finishes what runs and hands back the rest")
    return _files(model, worker, wanted)


def _why_never(world: World, model: ModelSeen, worker: WorkerSeen) -> str:
    """Why this worker does not take the model, whatever there is room for."""
    if model.deleted:
        return "the model is being deleted"
    if model.stopped:
        return "the model is suspended: set spec.suspend to false"
    if could_take(world, model, worker):
        return ""
    pool, device = world.pools.get(worker.pool), model.spec.requirements.device
    if pool is None or pool.stopped:
        return f"pool {worker.pool} is gone or suspended"
    if refusal := pool_refuses(model, pool):
        return f"pool {pool.name} refuses it: {refusal.sentence}"
    if takes_but_for_code(world, model, worker):
        return code_missing(model, [worker.id])
    if device != Device.ANY and device.value != worker.heartbeat.device:
        return f"requirements.device is {device.value}, {worker.id} has {worker.heartbeat.device}"
    refused = world.takers[model.name].refusal
    return refused.sentence if refused else f"{worker.id} does not take it"


def _loaded(
    memory: Memory, placement: Placement, model: ModelSeen, worker: WorkerSeen, copy: Copy | None
) -> OverrideState:
    if wait := placement.overrides.get((worker.id, model.name)):
        return OverrideState(message=wait.sentence, refused=wait.refused)
    if copy is None:
        return OverrideState(message="about to load")
    done = copy.state == CopyState.READY
    refused = copy.state == CopyState.FAILED
    message = "loaded" if done else copy_sentence(memory, model, worker, copy)
    return OverrideState(message=message, done=done, refused=refused)


def _files(model: ModelSeen, worker: WorkerSeen, wanted: Wanted) -> OverrideState:
    """What is told of the files of a model without a copy."""
    here, name = model.name in worker.heartbeat.cached, model.name
    for each in worker.heartbeat.files:
        if each.model == name and each.wanted == wanted:
            message = how_far(each.message, each.download)
            return OverrideState(message=message, refused=each.failed)
    if here == (wanted == Wanted.CACHED):
        told = (
            "its files are here, and it is kept from loading" if here else "nothing of it is here"
        )
        return OverrideState(message=told, done=True)
    begins = "fetch" if wanted == Wanted.CACHED else "delete"
    return OverrideState(message=f"about to {begins} its files")


def _refused(why: str) -> OverrideState:
    return OverrideState(message=why, refused=True)
