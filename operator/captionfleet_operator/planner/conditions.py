"""The conditions of a model: what holds, the reason as one word, and a sentence for each."""

from collections.abc import Iterable

from captionfleet.messages import CopyState
from captionfleet.resources import ModelStatus
from captionfleet.resources.model_status import Condition
from captionfleet_operator.planner.facts import Facts

Verdict = tuple[str, bool, str, str]
"""(type, holds, reason as one word, message as one sentence)."""

_NOT_ACCEPTED = {"SourceNotFound", "GatedRepo", "InvalidSpec"}
"""Failures which say that the spec names something that cannot be had."""


def model_conditions(facts: Facts, before: ModelStatus, now: str) -> list[Condition]:
    verdicts = [
        _accepted(facts),
        _queue_ready(facts),
        _cached(facts),
        _scheduled(facts),
        _loaded(facts),
        _ready(facts),
        _progressing(facts, before),
        _degraded(facts),
        _suspended(facts),
    ]
    return dated(verdicts, before.conditions, now, facts.generation)


def dated(
    verdicts: Iterable[Verdict], before: Iterable[Condition], now: str, generation: int
) -> list[Condition]:
    """Conditions whose transition time moves only when their status does."""
    known = {condition.type: condition for condition in before}
    conditions = []
    for type_, holds, reason, message in verdicts:
        status = "True" if holds else "False"
        last = known.get(type_)
        since = last.last_transition_time if last and last.status == status else now
        conditions.append(
            Condition(
                type=type_,
                status=status,
                reason=reason,
                message=message,
                last_transition_time=since,
                observed_generation=generation,
            )
        )
    return conditions


def _accepted(facts: Facts) -> Verdict:
    if facts.refused:
        return "Accepted", False, facts.refused.reason, facts.refused.sentence
    failure = facts.failure
    if failure and failure.reason in _NOT_ACCEPTED and not failure.retriable:
        return "Accepted", False, failure.reason, failure.message
    return "Accepted", True, "Accepted", "the manifest is valid and a pool takes the model"


def _queue_ready(facts: Facts) -> Verdict:
    if facts.queue_trouble:
        return "QueueReady", False, "NotDeclared", facts.queue_trouble
    return "QueueReady", True, "Declared", "its queues are declared"


def _cached(facts: Facts) -> Verdict:
    if facts.cached_on:
        return "Cached", True, "Cached", "its files are on a worker"
    sentence = "no worker tells of its files; loading fetches what is missing"
    return "Cached", False, "NotFetched", sentence


def _scheduled(facts: Facts) -> Verdict:
    if facts.placed:
        return "Scheduled", True, "Placed", "a worker was told to load it"
    if facts.obstacle:
        return "Scheduled", False, facts.obstacle.reason, facts.sentence
    return "Scheduled", False, "NotNeeded", facts.sentence


def _loaded(facts: Facts) -> Verdict:
    if facts.loaded:
        return "Loaded", True, "Loaded", facts.sentence
    return "Loaded", False, _why_not_loaded(facts), facts.sentence


def _why_not_loaded(facts: Facts) -> str:
    if facts.deleted:
        return "Terminating"
    if facts.suspended:
        return "Suspended"
    if facts.loading:
        return "Loading"
    if facts.failure:
        return facts.failure.reason
    return facts.obstacle.reason if facts.obstacle else "Standby"


def _ready(facts: Facts) -> Verdict:
    """This spec passed its smoke test once, and is loaded or can be loaded now."""
    if reason := _why_not_ready(facts):
        return "Ready", False, reason, facts.sentence
    return "Ready", True, "Loaded" if facts.up_to_date else _why_not_loaded(facts), facts.sentence


def _why_not_ready(facts: Facts) -> str:
    if facts.deleted:
        return "Terminating"
    if facts.suspended:
        return "Suspended"
    if facts.refused:
        return facts.refused.reason
    if facts.queue_trouble:
        return "NotDeclared"
    if facts.is_proven and facts.up_to_date:
        return ""
    if facts.failure:
        return facts.failure.reason
    if facts.obstacle and facts.obstacle.lasting:
        return facts.obstacle.reason
    return "" if facts.is_proven else "NotYetProven"


def _progressing(facts: Facts, before: ModelStatus) -> Verdict:
    if facts.overdue and not (facts.deleted or facts.suspended):
        return "Progressing", False, "ProgressDeadlineExceeded", facts.sentence
    if facts.loading or (facts.placed and not facts.copies) or _is_outdated(facts):
        return "Progressing", True, _progress(facts, before), facts.sentence
    if facts.deleted or facts.suspended:
        return "Progressing", False, "Settled", "nothing is on its way"
    if facts.failure and not facts.loaded:
        return "Progressing", False, facts.failure.reason, facts.sentence
    if facts.obstacle:
        return "Progressing", False, facts.obstacle.reason, facts.sentence
    return "Progressing", False, "Settled", "nothing is on its way"


def _is_outdated(facts: Facts) -> bool:
    return bool(facts.loaded) and not facts.up_to_date and bool(facts.placed)


def _progress(facts: Facts, before: ModelStatus) -> str:
    if before.revision.active and not facts.is_proven:
        return "LoadingNewRevision"
    if facts.proof:
        return "Proving"
    return "Downloading" if facts.in_state(CopyState.DOWNLOADING) else "Loading"


def _degraded(facts: Facts) -> Verdict:
    """Fewer copies than wanted because of failures, or a failure beside a copy that serves."""
    failure = facts.failure
    if failure and (facts.loaded or facts.desired > facts.loaded):
        return "Degraded", True, failure.reason, failure.message
    return "Degraded", False, "AsWanted", "no copy that is wanted has failed"


def _suspended(facts: Facts) -> Verdict:
    if facts.suspended:
        return "Suspended", True, "Suspended", "spec.suspend is true"
    return "Suspended", False, "NotSuspended", "spec.suspend is false"
