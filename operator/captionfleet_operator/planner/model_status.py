"""CaptionModel.status from the facts of a model."""

from captionfleet.broker.names import Names
from captionfleet.messages import CopyState
from captionfleet.resources import ModelPhase, ModelStatus
from captionfleet.resources.model_status import (
    LONGEST_LIST,
    CopiesStatus,
    CopyStatus,
    PerformanceStatus,
    QueueStatus,
    RevisionStatus,
)
from captionfleet_operator.planner.conditions import model_conditions
from captionfleet_operator.planner.facts import Facts
from captionfleet_operator.planner.seen import ModelSeen


def model_status(
    model: ModelSeen, facts: Facts, before: ModelStatus, fleet: str, now: str
) -> ModelStatus:
    """Made from the same facts and the status it gave before, it is the same again."""
    return ModelStatus(
        observed_generation=facts.generation,
        phase=_phase(facts),
        message=facts.sentence,
        source=_source(model),
        revision=_revision(facts, before.revision),
        asked=_asked(facts) or before.asked,
        queue=_queue(facts, fleet),
        copies=_copies(facts),
        download=facts.download,
        cached_on=list(facts.cached_on[:LONGEST_LIST]),
        performance=_performance(facts, before.performance),
        last_failure=facts.failure,
        rollout=facts.rollout,
        conditions=model_conditions(facts, before, now),
    )


def duration(seconds: float) -> str:
    """For people: 40s, 12m, 3h."""
    if seconds < 120:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 7200 else f"{seconds / 3600:.0f}h"


def _source(model: ModelSeen) -> str:
    source, custom = model.spec.source, model.spec.custom
    parts = []
    if custom:
        parts.append(f"custom {custom.entrypoint}")
    if source and source.hugging_face:
        parts.append(f"{source.hugging_face.repo}@{source.hugging_face.revision}")
    if source and source.volume:
        claim = f"{source.volume.claim_name}:" if source.volume.claim_name else ""
        parts.append(f"{claim}{source.volume.path}")
    return " with ".join(parts)


def _phase(facts: Facts) -> ModelPhase:
    if facts.deleted:
        return ModelPhase.TERMINATING
    if facts.suspended:
        return ModelPhase.SUSPENDED
    if facts.loaded:
        return _phase_of_loaded(facts)
    if facts.rollout and facts.loading:
        return ModelPhase.UPDATING
    if facts.in_state(CopyState.LOADING):
        return ModelPhase.LOADING
    if facts.in_state(CopyState.DOWNLOADING):
        return ModelPhase.DOWNLOADING
    if facts.failure or facts.is_broken:
        return ModelPhase.FAILED
    if facts.refused or facts.placed or facts.obstacle or facts.pending + facts.released:
        return ModelPhase.PENDING
    return ModelPhase.STANDBY


def _phase_of_loaded(facts: Facts) -> ModelPhase:
    if facts.failure:
        return ModelPhase.DEGRADED
    return ModelPhase.UPDATING if facts.rollout or not facts.up_to_date else ModelPhase.READY


def _revision(facts: Facts, before: RevisionStatus) -> RevisionStatus:
    told = [copy for copy in facts.copies if copy.revision]
    serving = [copy.revision for copy in told if copy.state == CopyState.READY]
    current = [copy.revision for copy in told if copy.current]
    # A target that was told stays one as long as the spec it belongs to.
    target = before.target if facts.is_proven and before.proven == facts.fingerprint else None
    return RevisionStatus(
        active=serving[0] if serving else before.active,
        target=current[0] if current else target,
        proven=facts.proven,
    )


def _asked(facts: Facts) -> str:
    told = [copy.asked for copy in facts.copies if copy.current and copy.asked]
    return told[0] if told else ""


def _queue(facts: Facts, fleet: str) -> QueueStatus:
    wait = facts.wait_seconds
    return QueueStatus(
        name=Names(fleet).model_queue(facts.name),
        pending=facts.pending,
        released=facts.released,
        total=facts.pending + facts.released,
        wait_seconds=wait,
        wait=duration(wait) if wait else "",
        consumers=sum(c.consuming for c in facts.copies if c.state == CopyState.READY),
    )


def _copies(facts: Facts) -> CopiesStatus:
    return CopiesStatus(
        desired=facts.desired,
        loaded=facts.loaded,
        loading=facts.loading,
        failed=facts.in_state(CopyState.FAILED),
        summary=f"{facts.loaded}/{facts.desired}",
        instances=[
            CopyStatus(
                worker=copy.worker,
                state=copy.state.value,
                device=copy.device,
                revision=copy.revision,
                memory_bytes=copy.memory_bytes,
                message=copy.message,
            )
            for copy in facts.copies[:LONGEST_LIST]
        ],
    )


def _performance(facts: Facts, before: PerformanceStatus) -> PerformanceStatus:
    """What ready copies measure; what was measured before, where they do not yet."""
    ready = [copy for copy in facts.copies if copy.state == CopyState.READY]
    medians = [copy.median_seconds for copy in ready if copy.median_seconds]
    loads = [copy.load_seconds for copy in ready if copy.load_seconds]
    sizes = [copy.memory_bytes for copy in ready if copy.memory_bytes]
    return PerformanceStatus(
        images_per_second=facts.images_per_second,
        p50_seconds=min(medians) if medians else before.p50_seconds,
        load_seconds=max(loads) if loads else before.load_seconds,
        memory_bytes=max(sizes) if sizes else before.memory_bytes,
    )
