"""What happened, as Kubernetes Events: transitions only, never one per turn."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from captionfleet.resources import ModelStatus, PoolStatus
from captionfleet.resources.model_status import Condition
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.plan import Plan
from captionfleet_operator.planner.proof import status_before
from captionfleet_operator.planner.unreachable import UNREACHABLE
from captionfleet_operator.planner.world import World

_ASKED_FOR = {"Suspended", "Terminating", "NotYetProven"}
"""Reasons not to be ready that are no trouble."""


@dataclass(frozen=True)
class Event:
    kind: Literal["CaptionModel", "CaptionWorkerPool"]
    name: str
    type: Literal["Normal", "Warning"]
    reason: str
    """One word in PascalCase."""
    message: str


def events(world: World, before: Memory, plan: Plan) -> list[Event]:
    """What changed between what was remembered before this plan, and the plan."""
    found = list(_evictions(plan))
    for name, status in plan.model_statuses.items():
        last = status_before(before, world.models[name])
        if last is not status:
            found += _of_model(name, last, status)
    for name, pool_status in plan.pool_statuses.items():
        pool = world.pools[name]
        last_pool = before.pool_statuses.get(name) or pool.manifest.status or PoolStatus()
        found += _of_pool(name, last_pool, pool_status)
    return found


def _evictions(plan: Plan) -> Iterator[Event]:
    for gone in plan.evictions:
        message = f"evicted {gone.model} from {gone.worker} to load {gone.winner}"
        yield Event("CaptionModel", gone.model, "Normal", "Evicted", message)


def _of_model(name: str, before: ModelStatus, after: ModelStatus) -> Iterator[Event]:
    failure, known = after.last_failure, before.last_failure
    failed = failure is not None and (
        known is None or (failure.reason, failure.message) != (known.reason, known.message)
    )
    if failure and failed:
        message = f"{failure.message} (on {failure.worker})"
        yield Event("CaptionModel", name, "Warning", failure.reason, message)
    was, now = _condition(before, "Ready"), _condition(after, "Ready")
    told = failure is not None and failed and now.reason == failure.reason
    # What ails a pool, or the broker, is told once per pool and not once per model.
    by_pool = now.status == "False" and now.reason == _condition(after, "Scheduled").reason
    if _same(was, now) or told or by_pool or UNREACHABLE in (was.reason, now.reason):
        return
    if now.status == "True":
        if was.status != "True":
            yield Event("CaptionModel", name, "Normal", "Ready", now.message)
    elif was.status == "True" or now.reason != "NotYetProven":
        yield Event("CaptionModel", name, _weight(now), now.reason, now.message)


def _of_pool(name: str, before: PoolStatus, after: PoolStatus) -> Iterator[Event]:
    if after.scaling_history[:1] != before.scaling_history[:1]:
        size = after.scaling_history[0]
        message = f"from {size.from_} to {size.to} workers: {size.reason}"
        yield Event("CaptionWorkerPool", name, "Normal", "Scaled", message)
    for type_, usual in (("Ready", {"TooFewWorkers", *_ASKED_FOR}), ("BrokerReachable", set())):
        was, now = _condition(before, type_), _condition(after, type_)
        troubled = now.status == "False" and now.reason not in usual
        was_troubled = was.status == "False" and was.reason not in usual
        if troubled and was.reason != now.reason:
            yield Event("CaptionWorkerPool", name, "Warning", now.reason, now.message)
        elif was_troubled and not troubled:
            message = f"over: {was.message}"
            yield Event("CaptionWorkerPool", name, "Normal", f"{was.reason}Over", message)


def _weight(now: Condition) -> Literal["Normal", "Warning"]:
    return "Normal" if now.reason in _ASKED_FOR else "Warning"


def _same(was: Condition, now: Condition) -> bool:
    return (was.status, was.reason) == (now.status, now.reason)


def _condition(status: ModelStatus | PoolStatus, type_: str) -> Condition:
    found = next((each for each in status.conditions if each.type == type_), None)
    return found or Condition(
        type=type_, status="Unknown", reason="", message="", last_transition_time=""
    )
