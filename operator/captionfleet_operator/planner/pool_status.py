"""CaptionWorkerPool.status from what is seen and planned."""

from captionfleet.messages import CopyState
from captionfleet.resources import PoolStatus
from captionfleet.resources.pool_status import ScalingDecision, WorkerStatus
from captionfleet_operator.planner.conditions import dated
from captionfleet_operator.planner.memory import Memory, PoolMemory
from captionfleet_operator.planner.model_status import duration, rounded, timestamp
from captionfleet_operator.planner.scaling import PoolPlan
from captionfleet_operator.planner.world import PoolSeen, WorkerSeen, World

_KEPT_DECISIONS = 10


def pool_status(
    world: World, memory: Memory, pool: PoolSeen, plan: PoolPlan, sentence: str
) -> PoolStatus:
    """`memory` is that of the turn before: it has the size the plan may have changed."""
    before = memory.pool_statuses.get(pool.name) or pool.manifest.status or PoolStatus()
    workers = sorted((w for w in world.workers.values() if w.pool == pool.name), key=lambda w: w.id)
    ready = sum(worker.open for worker in workers)
    silent = {own.id for own in pool.own} - {worker.id for worker in workers}
    outside = sum(not worker.own for worker in workers)
    desired = plan.workers + outside
    backlog = plan.work_seconds / max(ready, 1)
    generation = pool.manifest.metadata.generation
    return PoolStatus(
        observed_generation=generation,
        replicas=len(workers) + len(silent),
        ready_replicas=ready,
        desired_replicas=plan.workers,
        summary=f"{ready}/{desired}",
        models_loaded=sum(
            copy.state == CopyState.READY for w in workers for copy in w.heartbeat.copies
        ),
        backlog_seconds=rounded(backlog),
        wait=duration(backlog) if backlog >= 1 else "",
        message=sentence,
        workers=[_worker(worker) for worker in workers]
        + [WorkerStatus(id=worker, ready=False) for worker in sorted(silent)],
        scaling_history=_history(world, before, memory.pools.get(pool.name), plan),
        conditions=dated(
            [("Ready", ready >= desired, "WorkersReady" if ready >= desired else "TooFewWorkers",
              sentence)],
            before.conditions, timestamp(world.now), generation,
        ),
    )  # fmt: skip


def _worker(worker: WorkerSeen) -> WorkerStatus:
    beat = worker.heartbeat
    return WorkerStatus(
        id=worker.id,
        ready=worker.open,
        draining=worker.draining,
        external=not worker.own,
        models=sorted(copy.model for copy in beat.copies if copy.state == CopyState.READY),
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
    return [decision, *before.scaling_history][:_KEPT_DECISIONS]
