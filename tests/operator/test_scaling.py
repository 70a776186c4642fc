"""How many workers a pool has: the rules of scaling, one by one."""

from collections.abc import Sequence
from typing import Any

import pytest
from tests.operator.fleets import START, copy, decide, model, pinned, pool, worker, world

from captionfleet_operator.planner import (
    Memory,
    OwnWorker,
    PoolMemory,
    PoolPlan,
    WorkerSeen,
    plan,
)

FAST = {"scaleUp": {"maxStep": 10}, "scaleDown": {"stabilizationSeconds": 0, "maxStep": 10}}


def busy(id_: str = "cpu-1", rate: float = 1.0, **facts: Any) -> WorkerSeen:
    return worker(id_, copy("a", rates={1: rate}, idle_seconds=0), **facts)


def size(
    workers: Sequence[WorkerSeen],
    total: int,
    last: PoolMemory | None = None,
    own: Sequence[OwnWorker] = (),
    models: Sequence[Any] = (),
    suspend: bool = False,
    demand_fresh: bool = True,
    settled: bool = True,
    replicas: int | None = None,
    **autoscaling: Any,
) -> PoolPlan:
    """The plan of a pool whose one model `a` has `total` tasks."""
    spec: dict[str, Any] = {"autoscaling": {**FAST, **autoscaling}, "suspend": suspend}
    if replicas is not None:
        spec["replicas"] = replicas
    seen = world(
        models=models or [model("a", residency={"maxCopies": 9})],
        pools=[pool(own=own, **spec)],
        workers=workers,
        demand={"a": total} if total else {},
        demand_fresh=demand_fresh,
        settled=settled,
    )
    memory = Memory(pools={"cpu": last or PoolMemory(len(workers) + len(own), worked_at=START)})
    return decide(seen, memory).pools["cpu"]


def test_a_pool_has_its_minimum_without_work() -> None:
    assert size([], 0, minReplicas=2).workers == 2


def test_the_minimum_is_brought_up_even_before_anything_was_heard() -> None:
    assert size([], 0, minReplicas=2, settled=False).workers == 2


def test_nobody_is_drained_before_the_operator_has_listened() -> None:
    assert size([busy("cpu-1"), busy("cpu-2")], 0, settled=False).drain == ()


def test_a_pool_grows_by_seconds_of_work_per_worker() -> None:
    assert size([busy(rate=2.0)], 180, targetBacklogSeconds=30).workers == 3


def test_tasks_that_were_released_count_once() -> None:
    assert size([busy(rate=1.0)], 30, targetBacklogSeconds=30).workers == 1


def test_a_pool_never_grows_above_its_maximum() -> None:
    assert size([busy()], 10_000, maxReplicas=3).workers == 3


def test_one_worker_is_started_from_zero_when_a_picture_waits() -> None:
    assert size([], 1, minReplicas=0).workers == 1


def test_an_unmeasured_model_starts_one_worker_and_no_more() -> None:
    assert size([], 100_000, minReplicas=0).workers == 1


def test_workers_beyond_what_copies_can_use_are_not_started() -> None:
    capped = [model("a", residency={"maxCopies": 2})]

    assert size([busy()], 10_000, models=capped).workers == 2


def test_no_step_is_larger_than_allowed() -> None:
    assert size([busy()], 10_000, maxReplicas=9, scaleUp={"maxStep": 2}).workers == 3


def test_starting_workers_are_waited_for_before_more_are_added() -> None:
    starting = [OwnWorker("cpu-2", age_seconds=3)]

    assert size([busy()], 10_000, own=starting, maxReplicas=9).workers == 2


def test_a_worker_that_never_speaks_does_not_block_growth_for_ever() -> None:
    mute = [OwnWorker("cpu-2", age_seconds=121)]

    assert size([busy()], 10_000, own=mute, maxReplicas=9).workers == 9


def test_growth_waits_for_a_need_that_lasts() -> None:
    scale_up = {"stabilizationSeconds": 20, "maxStep": 9}
    young = PoolMemory(1, more_since=START - 19, worked_at=START)
    old = PoolMemory(1, more_since=START - 20, worked_at=START)

    assert size([busy()], 10_000, young, scaleUp=scale_up).workers == 1
    assert size([busy()], 10_000, old, scaleUp=scale_up).workers == 4


def test_shrinking_waits_for_a_lull_that_lasts() -> None:
    two = [worker("cpu-1"), worker("cpu-2")]
    scale_down = {"stabilizationSeconds": 60}
    young = PoolMemory(2, fewer_since=START - 59, worked_at=START - 59)
    old = PoolMemory(2, fewer_since=START - 60, worked_at=START - 60)

    assert size(two, 0, young, scaleDown=scale_down).drain == ()
    assert len(size(two, 0, old, scaleDown=scale_down).drain) == 1


def test_stale_demand_never_shrinks_a_pool() -> None:
    two = [worker("cpu-1"), worker("cpu-2")]

    assert size(two, 0, demand_fresh=False).workers == 2


def test_the_last_worker_leaves_only_after_the_longer_time() -> None:
    times: dict[str, Any] = {"minReplicas": 0, "scaleToZeroAfterSeconds": 600}

    assert size([worker()], 0, PoolMemory(1, worked_at=START - 599), **times).workers == 1
    assert size([worker()], 0, PoolMemory(1, worked_at=START - 600), **times).workers == 0


def test_the_worker_with_the_least_in_hand_leaves() -> None:
    two = [
        worker("cpu-1", copy("a"), held=["t1"]),
        worker("cpu-2", copy("a"), held=["t1", "t2"]),
    ]

    assert size(two, 0).drain == ("cpu-1",)


def test_among_idle_workers_the_one_with_the_cheapest_copies_leaves() -> None:
    two = [worker("cpu-1", copy("a", load_seconds=9)), worker("cpu-2", copy("a", load_seconds=3))]

    assert size(two, 0).drain == ("cpu-2",)


def test_a_leaving_worker_is_not_told_twice_and_nobody_leaves_in_its_place() -> None:
    two = [worker("cpu-1"), worker("cpu-2", draining=True)]

    assert size(two, 0, PoolMemory(1, worked_at=START)).drain == ()


def test_a_worker_with_a_pinned_copy_stays_when_no_other_can_take_it() -> None:
    models = [pinned("a"), model("b")]
    two = [
        worker("cpu-1", copy("a", memory_bytes=10**9)),
        worker("cpu-2", copy("b", idle_seconds=0), held=["t"], memory=10**8),
    ]

    assert size(two, 0, models=models).drain == ("cpu-2",)


def test_a_pool_has_a_worker_for_each_pinned_copy() -> None:
    assert size([], 0, models=[pinned("a", 3)], minReplicas=0).workers == 3


def test_a_model_without_a_place_brings_another_worker() -> None:
    models = [model("a"), model("b")]
    seen = world(
        models=models,
        pools=[pool(hosting={"maxModels": 1})],
        workers=[busy()],
        demand={"a": 1, "b": 1},
    )

    assert decide(seen).pools["cpu"].workers == 2


@pytest.mark.parametrize(("shares_memory", "workers"), [(True, 1), (False, 2)])
def test_more_workers_help_against_a_lack_of_memory_only_on_other_machines(
    shares_memory: bool, workers: int
) -> None:
    full = worker("cpu-1", copy("a", memory_bytes=3 * 10**9, idle_seconds=0), memory=4 * 10**9)
    seen = world(
        models=[model("a"), model("b", requirements={"memory": "2G"})],
        pools=[pool(shares_memory=shares_memory)],
        workers=[full],
        demand={"a": 1, "b": 1},
    )

    assert decide(seen).pools["cpu"].workers == workers


def test_mode_off_keeps_replicas_at_once() -> None:
    three = [worker(f"cpu-{n}") for n in (1, 2, 3)]

    assert size([], 0, mode="Off", replicas=2).workers == 2
    assert len(size(three, 9999, mode="Off", replicas=1).drain) == 2


def test_mode_external_keeps_what_the_autoscaler_wrote_and_says_so() -> None:
    five = [worker(f"cpu-{n}") for n in range(5)]

    grown = size([worker()], 0, mode="External", replicas=6)
    shrunk = size(five, 9999, mode="External", replicas=3)

    assert (grown.workers, grown.reason) == (6, "an external autoscaler set replicas to 6")
    assert (shrunk.workers, len(shrunk.drain)) == (3, 2)


@pytest.mark.parametrize("settled", [True, False])
def test_what_was_lowered_from_outside_waits_until_it_is_known_who_can_be_spared(
    settled: bool,
) -> None:
    three = [worker(f"cpu-{n}") for n in range(3)]

    planned = size(three, 0, mode="External", replicas=1, settled=settled)

    assert (planned.workers, len(planned.drain)) == ((1, 2) if settled else (3, 0))


@pytest.mark.parametrize("mode", ["Builtin", "External", "Off"])
def test_waiting_work_is_told_in_seconds_for_one_worker_in_every_mode(mode: str) -> None:
    replicas = None if mode == "Builtin" else 2
    two = [busy("cpu-1", rate=2.0), busy("cpu-2", rate=2.0)]

    planned = size(two, 100, mode=mode, replicas=replicas)

    assert (planned.work_seconds, planned.measured_seconds) == (50.0, 50.0)


def test_work_that_nobody_measured_is_told_at_zero_workers_too() -> None:
    """An autoscaler must hear of it, or nothing would ever start."""
    planned = size([], 7, mode="External", replicas=0)

    assert (planned.workers, planned.work_seconds, planned.measured_seconds) == (0, 7.0, 0.0)
    assert size([], 0, mode="External", replicas=0).work_seconds == 0.0


def test_all_proofs_together_are_told_as_one_second_of_work() -> None:
    models = [model(name, acceptance={"prove": "OnApply"}) for name in "ab"]

    assert size([], 0, models=models, mode="External", replicas=0).work_seconds == 1.0


def test_a_pool_that_its_maximum_keeps_small_says_so() -> None:
    limited = size([busy()], 10_000, maxReplicas=3).limited

    assert limited == (
        "9 workers would be right, maxReplicas is 3: "
        "10000 s of work wait for a; 30 s per worker are fine"
    )
    assert size([busy()], 10, maxReplicas=3).limited == ""


def test_suspend_drains_every_worker_at_once() -> None:
    assert size([busy("cpu-1"), busy("cpu-2")], 99, suspend=True).drain == ("cpu-1", "cpu-2")


def test_a_lowered_maximum_holds_at_once() -> None:
    three = [worker(f"cpu-{n}") for n in (1, 2, 3)]

    assert len(size(three, 0, maxReplicas=1, scaleDown={"stabilizationSeconds": 60}).drain) == 2


def test_workers_from_outside_do_part_of_the_work_and_are_never_drained() -> None:
    outside = [busy("theirs", own=False), busy("cpu-1")]

    assert size(outside, 90, PoolMemory(1, worked_at=START)).workers == 2
    assert "theirs" not in size(outside, 0, minReplicas=0).drain


def test_workers_of_a_vanished_pool_leave_after_a_while() -> None:
    seen = world(workers=[worker()], orphans={"cpu-1": 121.0, "cpu-2": 100.0})

    assert decide(seen).orphans == ("cpu-1",)


def test_the_size_survives_a_restart_of_the_operator() -> None:
    seen = world(models=[model("a")], pools=[pool()], workers=[busy()], demand={"a": 600})
    before, _ = plan(seen, Memory(pools={"cpu": PoolMemory(3)}))
    status = before.pool_statuses["cpu"]
    restarted = pool()
    manifest = restarted.manifest.model_copy(update={"status": status})
    seen = world(
        models=[model("a")],
        pools=[type(restarted)(manifest)],
        workers=[busy()],
        settled=False,
    )

    assert decide(seen).pools["cpu"].workers == before.pools["cpu"].workers == 4


def test_every_decision_is_kept_with_its_reason_ten_at_most() -> None:
    seen = world(models=[model("a")], pools=[pool()], workers=[busy()], demand={"a": 600})
    memory = Memory()
    for _ in range(14):
        last = Memory(pools={"cpu": PoolMemory(1)}, pool_statuses=memory.pool_statuses)
        decided, memory = plan(seen, last)

    history = decided.pool_statuses["cpu"].scaling_history

    assert len(history) == 10
    assert (history[0].from_, history[0].to) == (1, 3)
    assert history[0].reason == "600 s of work wait for a; 30 s per worker are fine"
