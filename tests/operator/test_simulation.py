"""Stories played in the simulator, from start to rest."""

from typing import Any

from tests.operator.fleets import GB, loaded, model, pool
from tests.operator.simulator import Nature, Simulation

from captionfleet_operator.planner import Plan


def fleet(
    *names: str, loads: float = 4.0, rate: float = 1.0, prove: str = "OnFirstUse", **spec: Any
) -> Simulation:
    """Models of 1 GB on workers of 8 GB, in one pool."""
    facts: dict[str, Any] = {"requirements": {"memory": "1G"}, "acceptance": {"prove": prove}}
    return Simulation(
        {name: model(name, **facts) for name in names},
        {name: Nature(GB, loads, rate) for name in names},
        {"cpu": pool(**spec)},
        memory_per_worker=8 * GB,
    )


def run(played: Simulation, seconds: float) -> list[Plan]:
    return [played.step()[2] for _ in range(round(seconds / 2))]


def sizes(plans: list[Plan]) -> list[int]:
    """The pool's sizes in order, each once."""
    found = [plan.pools["cpu"].workers for plan in plans]
    return [size for size, before in zip(found, [None, *found], strict=False) if size != before]


def test_two_models_that_need_a_worker_each_keep_two_workers() -> None:
    played = fleet("a", "b", hosting={"maxModels": 1}, autoscaling={"targetBacklogSeconds": 600})
    played.pending, played.frozen_demand = {"a": 5, "b": 5}, True

    assert sizes(run(played, 600)) == [1, 2]


def test_a_burst_is_met_and_left_without_a_reversal() -> None:
    played = fleet("a", autoscaling={"minReplicas": 0, "scaleToZeroAfterSeconds": 60})
    played.pending = {"a": 300}

    plans = run(played, 1200)

    assert sizes(plans) == [1, 3, 4, 3, 2, 1, 0]
    assert not played.pending


def test_models_that_do_not_fit_together_are_served_one_after_the_other() -> None:
    played = fleet("a", "b", hosting={"maxModels": 1}, autoscaling={"maxReplicas": 1})
    played.pending = {"a": 200, "b": 20}

    plans = run(played, 700)

    assert not played.pending
    order = [loaded(plan) for plan in plans if "cpu-1" in plan.assignments]
    assert [held for held, last in zip(order, [[], *order], strict=False) if held != last] == [
        ["a"],
        [],
        ["b"],
    ]


def test_a_restarted_operator_changes_nothing_that_runs() -> None:
    played = fleet("a", "b", autoscaling={"minReplicas": 2})
    played.pending, played.frozen_demand = {"a": 20, "b": 20}, True
    before = run(played, 120)[-1]

    played.restart_operator()
    after = run(played, 120)

    assert {plan.pools["cpu"].workers for plan in after} == {before.pools["cpu"].workers}
    assert all(plan.assignments == before.assignments for plan in after if plan.assignments)


def test_the_work_of_a_fallen_worker_goes_on_elsewhere_at_once() -> None:
    played = fleet("a", autoscaling={"minReplicas": 2})
    played.pending, played.frozen_demand = {"a": 1}, True
    run(played, 60)
    holder = next(id_ for id_, worker in played.workers.items() if worker.copies)

    played.crash(holder)
    run(played, 10)

    assert any(worker.copies for id_, worker in played.workers.items() if id_ != holder)


def test_models_are_proven_from_zero_one_after_the_other_and_the_worker_goes_again() -> None:
    played = fleet(
        "a", "b", "c", prove="OnApply",
        autoscaling={"minReplicas": 0, "scaleToZeroAfterSeconds": 60},
    )  # fmt: skip

    plans = run(played, 1200)

    assert sizes(plans) == [1, 0]
    assert played.begun == {"a": 1, "b": 1, "c": 1}
    history = plans[-1].pool_statuses["cpu"].scaling_history
    assert [each.reason for each in history] == [
        "no work for 120 s; minReplicas is 0",
        "a, b, c are to be proven",
    ]


def test_pictures_do_not_wait_for_the_proof_of_another_model() -> None:
    played = fleet("a", "b", prove="OnApply", loads=40.0)
    run(played, 10)

    played.pending = {"b": 1}
    run(played, 50)

    assert not played.pending
    run(played, 60)
    assert played.begun == {"a": 2, "b": 1}


def test_a_restarted_operator_proves_nothing_a_second_time() -> None:
    played = fleet("a", "b", prove="OnApply")
    run(played, 60)

    played.restart_operator()
    run(played, 1200)

    assert played.begun == {"a": 1, "b": 1}
