"""Why a task waits and how long it will take, in words and seconds. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

FRESH_OPERATOR_SECONDS = 10.0


@dataclass(frozen=True)
class ModelFacts:
    """What is known of one model when somebody asks why its tasks wait."""

    model: str
    broker_trouble: str = ""
    """Why there is no connection to the broker; empty while there is one."""
    listening_seconds: float = 0
    """Since the present connection began to hear heartbeats."""
    operator_age: float | None = None
    """Seconds since the operator was heard; None if never."""
    operator_sentence: str | None = None
    """The operator's last word on this model."""
    consumers: int = 0
    rate: float = 0
    """Pictures per second of all its consumers; 0 while unmeasured."""


@dataclass(frozen=True)
class Load:
    """Open tasks of one model up to a job's last one, and how fast they go."""

    ahead: int
    rate: float


def waiting_sentence(facts: ModelFacts) -> str:
    """One sentence, never empty, true for this very moment."""
    if facts.broker_trouble:
        return f"{facts.broker_trouble}; nothing is lost, tasks go on when the broker is back"
    operator_fresh = _fresh(facts.operator_age)
    if operator_fresh and facts.operator_sentence:
        return facts.operator_sentence
    if facts.consumers:
        return _in_turn(facts)
    if operator_fresh:
        return f"the operator has no word on {facts.model} yet; it reports every 2 s"
    return _silent_operator(facts)


def vanished_sentence(model: str, seconds_left: float) -> str:
    return (
        f"{model} was deleted; its tasks fail in {seconds_left:.0f} s unless it comes back before"
    )


def eta_seconds(loads: Iterable[Load]) -> float | None:
    """Seconds until the slowest of the models is through; None while any speed is unknown.

    Models without open tasks count for nothing; no open task at all is 0 s.
    """
    slowest = 0.0
    for load in loads:
        if load.ahead <= 0:
            continue
        if load.rate <= 0:
            return None
        slowest = max(slowest, load.ahead / load.rate)
    return slowest


def _fresh(operator_age: float | None) -> bool:
    return operator_age is not None and operator_age <= FRESH_OPERATOR_SECONDS


def _in_turn(facts: ModelFacts) -> str:
    workers = "1 worker" if facts.consumers == 1 else f"{facts.consumers} workers"
    if facts.rate <= 0:
        return f"waits for its turn at {workers}, whose speed is not measured yet"
    return f"waits for its turn at {workers}, together {facts.rate:.3g} pictures/s"


def _silent_operator(facts: ModelFacts) -> str:
    model = facts.model
    if facts.operator_age is not None:
        return (
            f"the operator was last heard {facts.operator_age:.0f} s ago and nobody has {model} "
            "loaded: start the operator"
        )
    if facts.listening_seconds <= FRESH_OPERATOR_SECONDS:
        return (
            f"listening for the operator since {facts.listening_seconds:.0f} s; "
            "it reports every 2 s"
        )
    return (
        f"no operator was heard in {facts.listening_seconds:.0f} s and nobody has {model} loaded: "
        "start the operator"
    )
