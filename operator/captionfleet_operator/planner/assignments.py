"""The whole wanted state of every worker: its copies, files it may keep, and what was asked."""

from collections.abc import Mapping

from captionfleet.messages import Change, Wanted
from captionfleet.resources.model import Device
from captionfleet_operator.planner.fitting import worker_takes
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.placement import Placement
from captionfleet_operator.planner.rooms import told
from captionfleet_operator.planner.seen import WorkerSeen, serves
from captionfleet_operator.planner.world import World

Place = tuple[str, str]
"""Pool and kind of device: workers of one place may have the same models."""


def loads(world: World, memory: Memory, placement: Placement) -> dict[str, frozenset[str]]:
    """Worker -> models that it shall load."""
    return {worker.id: _loads(world, memory, placement, worker) for worker in world.by_id}


def assignments(
    world: World, loaded: Mapping[str, frozenset[str]]
) -> dict[str, Mapping[str, Wanted]]:
    """Worker -> model -> wanted state. Workers that shall have the same share the mapping."""
    at_hand = _at_hand(world)
    known: dict[tuple[Place, frozenset[str], frozenset[str]], Mapping[str, Wanted]] = {}
    found = {}
    for worker in world.by_id:
        place = (worker.pool, worker.heartbeat.device)
        shall, cached = loaded[worker.id], _fetched(world, worker)
        key = (place, shall, cached)
        if key not in known:
            known[key] = (
                at_hand[place]
                | dict.fromkeys(sorted(cached), Wanted.CACHED)
                | dict.fromkeys(sorted(shall), Wanted.LOADED)
            )
        asked = _asked(world, worker)
        found[worker.id] = {**known[key], **asked} if asked else known[key]
    return found


def changes(world: World, placement: Placement) -> dict[tuple[str, str], Change]:
    """(worker, model) -> what becomes of an old copy that serves. What nobody judged goes on."""
    found = {
        (worker.id, copy.model): Change.HOLD
        for worker in world.by_id
        for copy in worker.heartbeat.copies
        if (model := world.models.get(copy.model))
        and copy.fingerprint != model.fingerprint
        and serves(copy)
    }
    return found | {place: step.change for place, step in placement.steps.items()}


def _asked(world: World, worker: WorkerSeen) -> dict[str, Wanted]:
    """Models that a person asked to have unloaded here, or gone."""
    asked = world.overrides.get(worker.id, {})
    return {
        name: state
        for name, state in asked.items()
        if state != Wanted.LOADED and name in world.models
    }


def _loads(
    world: World, memory: Memory, placement: Placement, worker: WorkerSeen
) -> frozenset[str]:
    if worker.id in placement.loaded:
        return placement.loaded[worker.id]
    if worker.open:
        return frozenset()  # its pool is suspended or gone
    # A leaving or silent worker keeps what it has: nothing is moved under its hands.
    return frozenset(name for name in told(memory, worker) if name in world.models)


def _fetched(world: World, worker: WorkerSeen) -> frozenset[str]:
    """Files the worker has and may keep."""
    return frozenset(
        name
        for name in worker.heartbeat.cached
        if name in world.models and worker_takes(world, world.models[name], worker)
    )


def _at_hand(world: World) -> dict[Place, dict[str, Wanted]]:
    """Models that need no fetching there: those of a folder, or custom code alone."""
    found: dict[Place, dict[str, Wanted]] = {}
    for worker in world.by_id:
        found.setdefault((worker.pool, worker.heartbeat.device), {})
    for name, model in sorted(world.models.items()):
        if model.fetched:
            continue
        pools, wanted = world.takers[name].names, model.spec.requirements.device
        for (pool, device), names in found.items():
            if pool in pools and (wanted == Device.ANY or wanted.value == device):
                names[name] = Wanted.CACHED
    return found
