"""One sentence per model and per pool that says how things stand, with live numbers."""

from captionfleet.messages import Copy, CopyState
from captionfleet_operator.planner.fitting import pool_refuses, pools_for
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.placement import Lack, Placement
from captionfleet_operator.planner.scaling import PoolPlan
from captionfleet_operator.planner.world import ModelSeen, PoolSeen, WorkerSeen, World

_LONGEST_REASON = 300


def model_sentence(world: World, memory: Memory, placement: Placement, model: ModelSeen) -> str:
    """Why its tasks wait, or that they need not. Never empty."""
    name = model.manifest.name
    if model.spec.suspend:
        return "suspended: set spec.suspend to false to go on"
    if refused := unplaceable(world, model):
        return refused
    if model.queue_trouble:
        return f"its queue could not be declared: {model.queue_trouble}"
    if ready := world.copies_of(name, CopyState.READY):
        return _ready(model, ready)
    if not world.settled:
        return "the operator has just connected and listens before it acts"
    for states, tell in (
        ((CopyState.LOADING,), _loading),
        ((CopyState.DOWNLOADING,), _downloading),
        ((CopyState.FAILED,), _failed),
        ((CopyState.UNLOADING,), _unloading),
    ):
        if found := world.copies_of(name, *states):
            return tell(world, memory, *found[0])
    return _not_there(world, memory, placement, model)


def unplaceable(world: World, model: ModelSeen) -> str:
    """Why no pool can ever run the model as things stand; empty if one can."""
    if pools_for(world, model):
        return ""
    if not world.pools:
        return "there is no pool of workers: apply a CaptionWorkerPool"
    reasons = [
        f"{name} {'is suspended' if pool.spec.suspend else f'refuses: {refusal}'}"
        for name, pool in sorted(world.pools.items())
        if (refusal := pool_refuses(model, pool)) or pool.spec.suspend
    ]
    return f"no pool takes this model: {'; '.join(reasons)}"


def pool_sentence(world: World, pool: PoolSeen, plan: PoolPlan) -> str:
    if pool.spec.suspend and not pool.own:
        return "suspended"
    heard = [w for w in world.workers.values() if w.pool == pool.name and w.open]
    unheard = _unheard(world, pool)
    leaving = sum(own.draining for own in pool.own) + len(plan.drain)
    parts = [_count(len(heard), "worker")]
    if unheard:
        parts.append(f"{len(unheard)} starting ({_youngest(unheard)} s)")
    if leaving:
        parts.append(f"{leaving} finishing what they hold and leaving")
    if plan.work_seconds >= 1:
        parts.append(f"{plan.work_seconds / max(len(heard), 1):.0f} s of work for each")
    if pool.trouble:
        parts.append(pool.trouble)
    return "; ".join(parts)


def _ready(model: ModelSeen, ready: list[tuple[WorkerSeen, Copy]]) -> str:
    workers = ", ".join(worker.id for worker, _ in ready)
    medians = [copy.median_seconds for _, copy in ready if copy.median_seconds]
    speed = f", {short(min(medians))} s per picture" if medians else ""
    old = all(copy.fingerprint != model.fingerprint for _, copy in ready)
    return f"ready on {workers}{speed}" + (", with the spec before the last change" if old else "")


def _loading(world: World, memory: Memory, worker: WorkerSeen, copy: Copy) -> str:
    so_far = round(copy.state_seconds + worker.silent_seconds)
    expected = copy.load_seconds or _load_seconds(memory, copy.model)
    about = f" of about {round(expected)} s" if expected else " so far"
    told = f" ({copy.message})" if copy.message else ""
    return f"loading on {worker.id}, {so_far} s{about}{told}"


def _load_seconds(memory: Memory, model: str) -> float | None:
    status = memory.model_statuses.get(model)
    return status.performance.load_seconds if status else None


def _downloading(world: World, memory: Memory, worker: WorkerSeen, copy: Copy) -> str:
    seconds = round(copy.state_seconds + worker.silent_seconds)
    return f"downloading on {worker.id}: {copy.message or f'{seconds} s so far'}"


def _failed(world: World, memory: Memory, worker: WorkerSeen, copy: Copy) -> str:
    what = (copy.message or copy.reason or "no reason was given")[:_LONGEST_REASON]
    if copy.retry_in_seconds is None:
        return f"failed on {worker.id}: {what}"
    left = max(0, round(copy.retry_in_seconds - worker.silent_seconds))
    return f"failed on {worker.id}: {what}; tried again in {left} s"


def _unloading(world: World, memory: Memory, worker: WorkerSeen, copy: Copy) -> str:
    return f"unloading on {worker.id}; it loads again when pictures wait"


def _not_there(world: World, memory: Memory, placement: Placement, model: ModelSeen) -> str:
    """No worker has a copy in any state."""
    name = model.manifest.name
    for worker, models in sorted(placement.loaded.items()):
        if name in models:
            return f"about to load on {worker}"
    wait = placement.waits.get(name)
    if wait and wait.lack == Lack.WORKER:
        return _starting(world, world.pools[wait.pool])
    if wait:
        return wait.sentence
    status = memory.model_statuses.get(name)
    if status and status.last_failure:
        failure = status.last_failure
        return f"failed on {failure.worker}: {failure.message}; tried again when pictures wait"
    return "not loaded: it loads when pictures wait"


def _starting(world: World, pool: PoolSeen) -> str:
    if unheard := _unheard(world, pool):
        return f"starting a worker in pool {pool.name} ({_youngest(unheard)} s)"
    if pool.trouble:
        return pool.trouble
    silent = [
        w for w in world.workers.values() if w.pool == pool.name and not w.fresh and not w.draining
    ]
    if silent:
        worker = min(silent, key=lambda w: w.silent_seconds)
        return f"worker {worker.id} has not been heard for {round(worker.silent_seconds)} s"
    return f"waiting for a worker in pool {pool.name}"


def _unheard(world: World, pool: PoolSeen) -> list[float]:
    """Seconds since the start of each worker that has not been heard yet."""
    return [own.age_seconds for own in pool.staying if own.id not in world.workers]


def _youngest(ages: list[float]) -> int:
    return round(min(ages))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def short(number: float) -> str:
    """Two significant digits: 0.43, 1.2, 12."""
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"
