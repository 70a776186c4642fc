"""The conditions of a model: Accepted, QueueReady, Cached, Scheduled, Loaded, Ready, Suspended."""

from collections.abc import Iterable
from dataclasses import dataclass

from captionfleet.resources import ModelStatus
from captionfleet.resources.model_status import Condition, CopiesStatus, FailureStatus
from captionfleet_operator.planner.placement import Wait
from captionfleet_operator.planner.world import ModelSeen

Verdict = tuple[str, bool, str, str]
"""(type, holds, reason as one word, message as one sentence)."""


@dataclass(frozen=True)
class Facts:
    """What a model is judged by."""

    model: ModelSeen
    before: ModelStatus
    now: str
    refused: str
    """Why no pool takes it."""
    counts: CopiesStatus
    placed: int
    """Workers that were told to load it."""
    cached: bool
    waiting: Wait | None
    failure: FailureStatus | None
    proven: bool
    """This spec passed its smoke test once."""
    sentence: str


def model_conditions(facts: Facts) -> list[Condition]:
    verdicts = [
        _accepted(facts),
        _queue_ready(facts),
        _cached(facts),
        _scheduled(facts),
        _loaded(facts),
        _ready(facts),
        _suspended(facts),
    ]
    generation = facts.model.manifest.metadata.generation
    return dated(verdicts, facts.before.conditions, facts.now, generation)


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
        return "Accepted", False, "NoMatchingPool", facts.refused
    return "Accepted", True, "Accepted", "the manifest is valid and a pool takes the model"


def _queue_ready(facts: Facts) -> Verdict:
    if facts.model.queue_trouble:
        return "QueueReady", False, "NotDeclared", facts.model.queue_trouble
    return "QueueReady", True, "Declared", "its queues are declared"


def _cached(facts: Facts) -> Verdict:
    if facts.cached:
        return "Cached", True, "Cached", "its files are on a worker"
    return (
        "Cached",
        False,
        "NotFetched",
        "no worker tells of its files; loading fetches what is missing",
    )


def _scheduled(facts: Facts) -> Verdict:
    if facts.placed:
        return "Scheduled", True, "Placed", "a worker was told to load it"
    if facts.waiting:
        return "Scheduled", False, facts.waiting.lack.value, facts.sentence
    return "Scheduled", False, "NotNeeded", facts.sentence


def _loaded(facts: Facts) -> Verdict:
    if facts.counts.loaded:
        return "Loaded", True, "Loaded", facts.sentence
    return "Loaded", False, _why_not_loaded(facts), facts.sentence


def _why_not_loaded(facts: Facts) -> str:
    if facts.model.spec.suspend:
        return "Suspended"
    if facts.counts.loading:
        return "Loading"
    if facts.failure:
        return facts.failure.reason
    if facts.waiting:
        return facts.waiting.lack.value
    return "Standby"


def _ready(facts: Facts) -> Verdict:
    """This spec passed its smoke test once, and is loaded or can be loaded now."""
    if facts.model.spec.suspend:
        return "Ready", False, "Suspended", facts.sentence
    if facts.counts.loaded:
        return "Ready", True, "Loaded", facts.sentence
    if facts.refused:
        return "Ready", False, "NoMatchingPool", facts.sentence
    if facts.failure:
        return "Ready", False, facts.failure.reason, facts.sentence
    if not facts.proven:
        return "Ready", False, "NotYetProven", facts.sentence
    return "Ready", True, _why_not_loaded(facts), facts.sentence


def _suspended(facts: Facts) -> Verdict:
    if facts.model.spec.suspend:
        return "Suspended", True, "Suspended", "spec.suspend is true"
    return "Suspended", False, "NotSuspended", "spec.suspend is false"
