"""CaptionWorkerPool.status from what is seen and planned."""

from captionfleet.messages import CopyState
from captionfleet.resources import PoolStatus
from captionfleet.resources.model_status import LONGEST_LIST
from captionfleet.resources.pool_status import (
    KEPT_DECISIONS,
    LONGEST_WORKERS_LIST,
    ScalingDecision,
    WorkerStatus,
)
from captionfleet_operator.planner.conditions import Verdict, dated
from captionfleet_operator.planner.facts import rounded, timestamp
from captionfleet_operator.planner.memory import Memory, PoolMemory
from captionfleet_operator.planner.model_status import duration
from captionfleet_operator.planner.scaling import PoolPlan
from captionfleet_operator.planner.seen import PoolSeen, WorkerSeen
from captionfleet_operator.planner.world import World


def pool_status(
    world: World, memory: Memory, pool: PoolSeen, plan: PoolPlan, sentence: str
) -> PoolStatus:
    """`memory` is that of the turn before: it has the size the plan may have changed."""
    before = memory.pool_statuses.get(pool.name) or pool.manifest.status or PoolStatus()
    workers = world.workers_of(pool.name)
    ready = sum(worker.open for worker in workers)
    silent = {own.id for own in pool.own} - {worker.id for worker in workers}
    desired = plan.workers + sum(not worker.own for worker in workers)
    wait = plan.measured_seconds / max(ready, 1)
    generation = pool.manifest.metadata.generation
    listed = [_worker(worker) for worker in workers] + [
        WorkerStatus(id=worker, ready=False) for worker in sorted(silent)
    ]
    return PoolStatus(
        observed_generation=generation,
        replicas=len(listed),
        ready_replicas=ready,
        desired_replicas=plan.workers,
        selector=pool.selector,
        summary=f"{ready}/{desired}",
        models_loaded=sum(
            copy.state == CopyState.READY for w in workers for copy in w.heartbeat.copies
        ),
        backlog_seconds=rounded(plan.work_seconds),
        wait=duration(wait) if wait >= 1 else "",
        message=sentence,
        workers=listed[:LONGEST_WORKERS_LIST],
        scaling_history=_history(world, before, memory.pools.get(pool.name), plan),
        conditions=dated(
            [_ready(pool, ready, desired, sentence), *_others(pool, plan)],
            before.conditions,
            timestamp(world.now),
            generation,
        ),
    )


def _ready(pool: PoolSeen, ready: int, desired: int, sentence: str) -> Verdict:
    if pool.stopped:
        return "Ready", False, "Terminating" if pool.deleted else "Suspended", sentence
    if ready >= desired:
        return "Ready", True, "WorkersReady", sentence
    reason = pool.trouble_reason or ("WorkerTrouble" if pool.trouble else "TooFewWorkers")
    return "Ready", False, reason, sentence


def _others(pool: PoolSeen, plan: PoolPlan) -> list[Verdict]:
    limited: Verdict = ("ScalingLimited", False, "WithinLimits", "its size is what its work needs")
    if plan.limited:
        limited = ("ScalingLimited", True, "TooFewReplicasAllowed", plan.limited)
    suspended: Verdict = ("Suspended", False, "NotSuspended", "spec.suspend is false")
    if pool.spec.suspend:
        suspended = ("Suspended", True, "Suspended", "spec.suspend is true")
    return [("BrokerReachable", True, "Connected", "the broker answers"), limited, suspended]


def _worker(worker: WorkerSeen) -> WorkerStatus:
    beat = worker.heartbeat
    loaded = sorted(copy.model for copy in beat.copies if copy.state == CopyState.READY)
    return WorkerStatus(
        id=worker.id,
        ready=worker.open,
        draining=worker.draining,
        external=not worker.own,
        models=loaded[:LONGEST_LIST],
        in_flight=len(beat.held),
    )


def _history(
    world: World, before: PoolStatus, last: PoolMemory | None, plan: PoolPlan
) -> list[ScalingDecision]:
    size = last.size if last else before.desired_replicas
    if not plan.reason or size == plan.workers:
        return before.scaling_history
    decision = ScalingDecision.model_validate(
        {"time": timestamp(world.now), "from": size, "to": plan.workers, "reason": plan.reason}
    )
    return [decision, *before.scaling_history][:KEPT_DECISIONS]
