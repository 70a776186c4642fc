"""One sentence per model and per pool that says how things stand, with live numbers."""

import textwrap

from captionfleet.messages import Copy, CopyState, Download
from captionfleet.resources.model_status import FailureStatus
from captionfleet.resources.pool import AutoscalingMode
from captionfleet_operator.planner.matching import first
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.own_code import broken_code
from captionfleet_operator.planner.placement import Placement
from captionfleet_operator.planner.proof import last_failure, status_before, waits_for_change
from captionfleet_operator.planner.scaling import PoolPlan
from captionfleet_operator.planner.seen import ModelSeen, PoolSeen, WorkerSeen
from captionfleet_operator.planner.waits import Lack
from captionfleet_operator.planner.world import World

_LONGEST_REASON = 600
_RETRY = "; tried again in "


def model_sentence(world: World, memory: Memory, placement: Placement, model: ModelSeen) -> str:
    """Why its tasks wait, or that they need not. Never empty."""
    if stopped := _stopped(model):
        return stopped
    if refused := world.takers[model.name].refusal:
        return refused.sentence
    if model.queue_trouble:
        return f"its queue could not be declared: {model.queue_trouble}"
    copies = world.copies_of(model.name)
    if ready := [each for each in copies if each[1].state == CopyState.READY]:
        return _ready(model, ready) + _rollout(memory, placement, model, ready)
    if not world.settled:
        return world.broker_trouble or "the operator has just connected and listens before it acts"
    for state, tell in (
        (CopyState.LOADING, _loading),
        (CopyState.DOWNLOADING, _downloading),
        (CopyState.FAILED, _failed),
    ):
        if found := next((each for each in copies if each[1].state == state), None):
            return tell(memory, model, *found) + _gap(memory, model)
    if copies:
        again = "when its place is free" if world.total(model.name) else "when pictures wait"
        return f"unloading on {copies[0][0].id}; it loads again {again}"
    return _not_there(world, memory, placement, model)


def copy_sentence(memory: Memory, model: ModelSeen, worker: WorkerSeen, copy: Copy) -> str:
    """How far one copy is that is not ready."""
    tell = {CopyState.DOWNLOADING: _downloading, CopyState.FAILED: _failed}
    if copy.state == CopyState.UNLOADING:
        return f"unloading on {worker.id}"
    return tell.get(copy.state, _loading)(memory, model, worker, copy)


def steady_sentence(world: World, model: ModelSeen, sentence: str) -> str:
    """The same for status, without a count-down: lastFailure has the time of the next try."""
    failed = any(copy.state == CopyState.FAILED for _, copy in world.copies_of(model.name))
    return sentence.partition(_RETRY)[0] if failed else sentence


def pool_sentence(world: World, pool: PoolSeen, plan: PoolPlan) -> str:
    if pool.stopped and not pool.own:
        return "being deleted" if pool.deleted else "suspended"
    heard = [worker for worker in world.workers_of(pool.name) if worker.open]
    unheard = _unheard(world, pool)
    leaving = sum(own.draining for own in pool.own) + len(plan.drain)
    parts = [_count(len(heard), "worker")]
    if unheard:
        # While something is wrong, how long it lasts is no news.
        age = "" if pool.trouble else f" ({_youngest(unheard)} s)"
        parts.append(f"{len(unheard)} starting{age}")
    if leaving:
        parts.append(f"{leaving} finishing what they hold and leaving")
    if plan.measured_seconds >= 1:
        parts.append(f"{plan.measured_seconds / max(len(heard), 1):.0f} s of work for each")
    if pool.trouble:
        parts.append(pool.trouble)
    return "; ".join(parts)


def _stopped(model: ModelSeen) -> str:
    if model.deleted:
        return "it is being deleted"
    return "suspended: set spec.suspend to false to go on" if model.stopped else ""


def _ready(model: ModelSeen, ready: list[tuple[WorkerSeen, Copy]]) -> str:
    workers = first([worker.id for worker, _ in ready], ", ")
    medians = [copy.median_seconds for _, copy in ready if copy.median_seconds]
    speed = f", {short(min(medians))} s per picture" if medians else ""
    old = all(copy.fingerprint != model.fingerprint for _, copy in ready)
    return f"ready on {workers}{speed}" + (", with the spec before the last change" if old else "")


def _rollout(
    memory: Memory,
    placement: Placement,
    model: ModelSeen,
    ready: list[tuple[WorkerSeen, Copy]],
) -> str:
    """How far the changed spec is, while copies of an earlier one go on."""
    for worker, copy in ready:
        new = copy.beside
        if new and new.fingerprint == model.fingerprint and new.state != CopyState.UNLOADING:
            return f"; the changed one is {copy_sentence(memory, model, worker, new)}"
    steps = [placement.steps.get((worker.id, model.name)) for worker, _ in ready]
    told = next((step for step in steps if step and step.sentence), None)
    begins = any(step for step in steps)
    return f"; {told.sentence}" if told else "; the changed one is about to load" if begins else ""


def _gap(memory: Memory, model: ModelSeen) -> str:
    """Why nothing serves while a changed spec loads."""
    rollout = status_before(memory, model).rollout
    current = rollout is not None and rollout.digest == model.fingerprint
    return f" ({rollout.message})" if rollout and current and rollout.message else ""


def _loading(memory: Memory, model: ModelSeen, worker: WorkerSeen, copy: Copy) -> str:
    so_far = round(copy.state_seconds + worker.silent_seconds)
    expected = copy.load_seconds or status_before(memory, model).performance.load_seconds
    about = f" of about {round(expected)} s" if expected else " so far"
    told = f" ({copy.message})" if copy.message else ""
    return f"loading on {worker.id}, {so_far} s{about}{told}"


def _downloading(memory: Memory, model: ModelSeen, worker: WorkerSeen, copy: Copy) -> str:
    seconds = round(copy.state_seconds + worker.silent_seconds)
    told = how_far(copy.message, copy.download)
    return f"downloading on {worker.id}: {told or f'{seconds} s so far'}"


def how_far(message: str | None, download: Download | None) -> str:
    """What is said of a download, and its numbers where there are some."""
    return "; ".join(each for each in (message, download and download.told()) if each)


def _failed(memory: Memory, model: ModelSeen, worker: WorkerSeen, copy: Copy) -> str:
    what = _shown(copy.message or copy.reason or "no reason was given")
    if copy.retry_in_seconds is None:
        return f"failed on {worker.id}: {what}"
    left = max(0, round(copy.retry_in_seconds - worker.silent_seconds))
    return f"failed on {worker.id}: {what}{_RETRY}{left} s"


def _shown(reason: str) -> str:
    """Remedies stand at the end, so only what is very long is cut, and not within a word."""
    return textwrap.shorten(reason, _LONGEST_REASON, placeholder=" …")


def _not_there(world: World, memory: Memory, placement: Placement, model: ModelSeen) -> str:
    """No worker has a copy in any state."""
    if holders := placement.books.holding(model.name):
        return f"about to load on {holders[0].id}"
    wait, goal = placement.waits.get(model.name), placement.goals[model.name]
    if wait:
        starts = wait.lack == Lack.WORKER
        why = _starting(world, world.pools[wait.pool]) if starts else wait.sentence
        return f"waits to be proven: {why}" if goal.proof else why
    if failure := last_failure(memory, model):
        what = _shown(failure.message)
        when = _next_try(model, failure, proof=goal.proof)
        return f"failed on {failure.worker}: {what}; tried again when {when}"
    if broken := broken_code(world, model):
        return broken
    return "waits to be proven" if goal.proof else "not loaded: it loads when pictures wait"


def _next_try(model: ModelSeen, failure: FailureStatus, *, proof: bool) -> str:
    if waits_for_change(model, failure):
        return "its spec changes or pictures wait"
    return "its pool has a worker or pictures wait" if proof else "pictures wait"


def _starting(world: World, pool: PoolSeen) -> str:
    if pool.trouble:
        return pool.trouble
    if unheard := _unheard(world, pool):
        return f"starting a worker in pool {pool.name} ({_youngest(unheard)} s)"
    silent = [w for w in world.workers_of(pool.name) if not w.fresh and not w.draining]
    if silent:
        worker = min(silent, key=lambda w: w.silent_seconds)
        return f"worker {worker.id} has not been heard for {round(worker.silent_seconds)} s"
    if pool.spec.replicas == 0 and pool.spec.autoscaling.mode != AutoscalingMode.BUILTIN:
        return f"spec.replicas of pool {pool.name} is 0: set it to 1 or more"
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
