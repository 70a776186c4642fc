"""CaptionModel.status from what is seen and planned. Rounded, so that noise is no change."""

from collections.abc import Mapping
from datetime import UTC, datetime

from captionfleet.broker.names import Names
from captionfleet.messages import Copy, CopyState, ModelDemand
from captionfleet.resources import ModelPhase, ModelStatus
from captionfleet.resources.model_status import (
    CopiesStatus,
    CopyStatus,
    FailureStatus,
    PerformanceStatus,
    QueueStatus,
    RevisionStatus,
)
from captionfleet_operator.planner.conditions import Facts, model_conditions
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.placement import Placement
from captionfleet_operator.planner.sentences import unplaceable
from captionfleet_operator.planner.speed import rate
from captionfleet_operator.planner.world import ModelSeen, WorkerSeen, World

Copies = list[tuple[WorkerSeen, Copy]]


def model_status(
    world: World, memory: Memory, placement: Placement, model: ModelSeen, sentence: str
) -> ModelStatus:
    name = model.manifest.name
    before = memory.model_statuses.get(name) or model.manifest.status or ModelStatus()
    copies = world.copies_of(name)
    ready = [each for each in copies if each[1].state == CopyState.READY]
    failure = None if ready else _last_failure(world, copies, before)
    desired = max(placement.goals[name].copies, placement.count(name))
    counts = _copies(copies, desired)
    waiting = placement.waits.get(name)
    facts = Facts(
        model=model,
        before=before,
        now=timestamp(world.now),
        refused=unplaceable(world, model),
        counts=counts,
        placed=placement.count(name),
        cached=bool(_cached_on(world, name)),
        waiting=waiting,
        failure=failure,
        proven=memory.proven.get(name) == model.fingerprint,
        sentence=sentence,
    )
    return ModelStatus(
        observed_generation=model.manifest.metadata.generation,
        phase=_phase(world, facts, copies),
        message=sentence,
        source=_source(model),
        revision=RevisionStatus(active=_revision(ready) or before.revision.active),
        queue=_queue(world, memory, model, ready),
        copies=counts,
        cached_on=_cached_on(world, name),
        performance=_performance(world, memory, model, ready, before.performance),
        last_failure=failure,
        conditions=model_conditions(facts),
    )


def proven(world: World, memory: Memory) -> Mapping[str, str]:
    """Model -> fingerprint that loaded and passed once, from copies or from the last status."""
    found = {name: memory.proven[name] for name in world.models if name in memory.proven}
    for name, model in world.models.items():
        ready = [copy.fingerprint for _, copy in world.copies_of(name, CopyState.READY)]
        if model.fingerprint in ready or (name not in found and _was_ready(model)):
            found[name] = model.fingerprint
    return found


def _was_ready(model: ModelSeen) -> bool:
    status = model.manifest.status
    return status is not None and any(
        condition.type == "Ready"
        and condition.status == "True"
        and condition.observed_generation == model.manifest.metadata.generation
        for condition in status.conditions
    )


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def _phase(world: World, facts: Facts, copies: Copies) -> ModelPhase:
    if facts.model.spec.suspend:
        return ModelPhase.SUSPENDED
    states = {copy.state for _, copy in copies}
    current = {c.state for _, c in copies if c.fingerprint == facts.model.fingerprint}
    if CopyState.READY in states:
        if CopyState.READY not in current:
            return ModelPhase.UPDATING
        return ModelPhase.DEGRADED if CopyState.FAILED in states else ModelPhase.READY
    if CopyState.LOADING in states:
        return ModelPhase.LOADING
    if CopyState.DOWNLOADING in states:
        return ModelPhase.DOWNLOADING
    if facts.failure:
        return ModelPhase.FAILED
    if facts.refused or facts.placed or facts.waiting or world.total(facts.model.manifest.name):
        return ModelPhase.PENDING
    return ModelPhase.STANDBY


def _source(model: ModelSeen) -> str:
    source, custom = model.spec.source, model.spec.custom
    parts = []
    if custom:
        parts.append(f"custom {custom.entrypoint}")
    if source and source.hugging_face:
        parts.append(f"{source.hugging_face.repo}@{source.hugging_face.revision}")
    if source and source.volume:
        parts.append(source.volume.path)
    return " with ".join(parts)


def _revision(ready: Copies) -> str | None:
    return next((copy.revision for _, copy in ready if copy.revision), None)


def _cached_on(world: World, name: str) -> list[str]:
    return sorted(w.id for w in world.workers.values() if name in w.heartbeat.cached)


def _copies(copies: Copies, desired: int) -> CopiesStatus:
    states = [copy.state for _, copy in copies]
    loaded = states.count(CopyState.READY)
    return CopiesStatus(
        desired=desired,
        loaded=loaded,
        loading=states.count(CopyState.LOADING) + states.count(CopyState.DOWNLOADING),
        failed=states.count(CopyState.FAILED),
        summary=f"{loaded}/{desired}",
        instances=[
            CopyStatus(
                worker=worker.id,
                state=copy.state.value,
                device=worker.heartbeat.device,
                revision=copy.revision,
                memory_bytes=megabytes(copy.memory_bytes),
                message=copy.message or "",
            )
            for worker, copy in copies
        ],
    )


def _queue(world: World, memory: Memory, model: ModelSeen, ready: Copies) -> QueueStatus:
    name = model.manifest.name
    demand = world.demand.get(name, ModelDemand())
    speed = rate(world, memory, name)
    wait = None
    if not demand.total:
        wait = 0
    elif speed:
        wait = round(demand.total / (speed * max(len(ready), 1)))
    return QueueStatus(
        name=Names(world.fleet).model_queue(name),
        pending=demand.pending,
        released=demand.released,
        total=demand.total,
        wait_seconds=wait,
        wait=duration(wait) if wait else "",
        consumers=sum(copy.consuming for _, copy in ready),
    )


def _performance(
    world: World, memory: Memory, model: ModelSeen, ready: Copies, before: PerformanceStatus
) -> PerformanceStatus:
    """What ready copies measure; what was measured before, where they do not yet."""
    copies = [copy for _, copy in ready]
    medians = [copy.median_seconds for copy in copies if copy.median_seconds]
    loads = [copy.load_seconds for copy in copies if copy.load_seconds]
    sizes = [copy.memory_bytes for copy in copies if copy.memory_bytes]
    return PerformanceStatus(
        images_per_second=rounded(rate(world, memory, model.manifest.name)),
        p50_seconds=rounded(min(medians)) if medians else before.p50_seconds,
        load_seconds=rounded(max(loads)) if loads else before.load_seconds,
        memory_bytes=megabytes(max(sizes)) if sizes else before.memory_bytes,
    )


def _last_failure(world: World, copies: Copies, before: ModelStatus) -> FailureStatus | None:
    """The failed copy that is there, else the last one told of, until a copy gets ready."""
    failed = [(worker, copy) for worker, copy in copies if copy.state == CopyState.FAILED]
    if not failed:
        return before.last_failure
    worker, copy = failed[0]
    failure = FailureStatus(
        reason=copy.reason or "Failed",
        message=copy.message or "no reason was given",
        worker=worker.id,
        time=timestamp(world.now - copy.state_seconds - worker.silent_seconds),
        next_retry_time=_retry_time(world, worker, copy),
    )
    return _steady(failure, before.last_failure)


def _retry_time(world: World, worker: WorkerSeen, copy: Copy) -> str | None:
    if copy.retry_in_seconds is None:
        return None
    return timestamp(world.now + copy.retry_in_seconds - worker.silent_seconds)


def _steady(failure: FailureStatus, before: FailureStatus | None) -> FailureStatus:
    """The same failure seen again: a second more or less in its times is no news."""
    if (
        before is None
        or before.model_copy(
            update={"time": failure.time, "next_retry_time": failure.next_retry_time}
        )
        != failure
    ):
        return failure
    if _apart(failure.time, before.time) or _apart(failure.next_retry_time, before.next_retry_time):
        return failure
    return before


def _apart(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return one != other
    return abs((datetime.fromisoformat(one) - datetime.fromisoformat(other)).total_seconds()) > 3


def rounded(number: float | None) -> float | None:
    """Two significant digits."""
    return None if number is None else float(f"{number:.2g}")


def megabytes(size: int | None) -> int | None:
    """Rounded to 16 MB."""
    return None if size is None else round(size / 2**24) * 2**24


def duration(seconds: float) -> str:
    """For people: 40s, 12m, 3h."""
    if seconds < 120:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 7200 else f"{seconds / 3600:.0f}h"
