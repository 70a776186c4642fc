"""Proofs: each new spec is loaded and tested once, with the least urgency of all.

A proof needs nobody's pictures. One that failed is tried again by the worker's own back-off while
a copy is there, and later where a worker is at hand; it never brings one. One that only another
spec can heal is not tried again.
"""

from collections.abc import Mapping
from datetime import datetime

from captionfleet.messages import Copy, CopyState
from captionfleet.resources.model import Prove
from captionfleet.resources.model_status import FailureStatus, ModelStatus
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.seen import ModelSeen
from captionfleet_operator.planner.world import World

PROOF_PATIENCE_SECONDS = 120.0
"""A proof that waits for longer may begin on a worker that captions, or bring another one."""
_WORKERS_OWN_FAULT = {
    "OutOfMemory",
    "InsufficientMemory",
    "EngineDied",
    "LoadTimeout",
    "HubUnreachable",
}


def proven(world: World, memory: Memory) -> Mapping[str, str]:
    """Model -> fingerprint that loaded and passed once, from copies or from the last status."""
    found = {}
    for name, model in world.models.items():
        known = memory.proven.get(name) or _proven_before(model)
        if known != model.fingerprint and any(
            copy.fingerprint == model.fingerprint
            for _, copy in world.copies_of(name, CopyState.READY)
        ):
            known = model.fingerprint
        if known:
            found[name] = known
    return found


def _proven_before(model: ModelSeen) -> str | None:
    """What an earlier operator saw: Ready is lost with the broker, the digest is not."""
    status = model.manifest.status
    if status is None:
        return None
    generation = model.manifest.metadata.generation
    was_ready = any(
        each.type == "Ready" and each.status == "True" and each.observed_generation == generation
        for each in status.conditions
    )
    return model.fingerprint if was_ready else status.revision.proven


def to_prove(world: World, memory: Memory, model: ModelSeen) -> bool:
    """It shall be proven on apply, is not yet, and trying once more may help now."""
    on_apply = model.spec.acceptance.prove == Prove.ON_APPLY
    if not on_apply or memory.proven.get(model.name) == model.fingerprint:
        return False
    failure = last_failure(memory, model)
    if failure and _final(model, failure.reason, failure.retriable):
        return False
    if copies := world.copies_of(model.name):
        return not any(_hopeless(model, copy) for _, copy in copies)
    return failure is None or _is_due(failure, world.now)


def unproven_since(world: World, memory: Memory, model: ModelSeen) -> float:
    """Since when its proof waits for a place: for an earlier operator too, by its last status."""
    status = model.manifest.status
    if status is None or model.name in memory.told:
        return world.now
    judged = [each for each in status.conditions if each.type in ("Ready", "Scheduled")]
    if not judged or any(each.status == "True" for each in judged):
        return world.now
    return max(_seconds(each.last_transition_time) for each in judged)


def failed_by_worker(model: ModelSeen, copy: Copy | None) -> bool:
    """Another worker may do better."""
    if copy is None or copy.state != CopyState.FAILED:
        return False
    return _by_worker(model, copy.reason or "")


def last_failure(memory: Memory, model: ModelSeen) -> FailureStatus | None:
    """The last failure of this very spec, until a copy of it was ready."""
    failure = status_before(memory, model).last_failure
    return failure if failure and failure.fingerprint == model.fingerprint else None


def waits_for_change(model: ModelSeen, failure: FailureStatus) -> bool:
    """Nobody tries this spec again but for pictures."""
    on_apply = model.spec.acceptance.prove == Prove.ON_APPLY
    return on_apply and _final(model, failure.reason, failure.retriable)


def status_before(memory: Memory, model: ModelSeen) -> ModelStatus:
    return memory.model_statuses.get(model.name) or model.manifest.status or _NOTHING


_NOTHING = ModelStatus()


def _hopeless(model: ModelSeen, copy: Copy) -> bool:
    failed = copy.state == CopyState.FAILED and copy.fingerprint == model.fingerprint
    return failed and _final(model, copy.reason or "", copy.retriable)


def _final(model: ModelSeen, reason: str, retriable: bool) -> bool:
    """Another try will not cure it, here or elsewhere."""
    # Code that lies with the worker is tried again by itself as soon as somebody saves it.
    watched = model.spec.custom is not None and not model.brings_code
    return not retriable and not watched and not _by_worker(model, reason)


def _by_worker(model: ModelSeen, reason: str) -> bool:
    """A folder may be missing on one worker alone."""
    source = model.spec.source
    on_disk = source is not None and source.volume is not None
    return reason in _WORKERS_OWN_FAULT or (on_disk and reason == "SourceNotFound")


def _is_due(failure: FailureStatus, now: float) -> bool:
    if failure.next_retry_time is None:
        return True
    return _seconds(failure.next_retry_time) <= now


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
