"""While the broker is away, statuses say so once, and nothing else in them changes."""

from dataclasses import replace

from tests.operator.fleets import START, copy, model, pool, worker, world

from captionfleet.resources import ModelStatus, PoolStatus
from captionfleet_operator.planner import Memory, Plan, World, plan

AWAY = "the broker at mq:5672 does not answer"


def seen(seconds: float, *, away: bool, settled: bool | None = None) -> World:
    return world(
        models=[model("a")],
        pools=[pool(autoscaling={"minReplicas": 0})],
        workers=[] if away else [worker("cpu-1", copy("a"))],
        demand={"a": 9},
        now=START + seconds,
        settled=not away if settled is None else settled,
        broker_trouble=AWAY if away else "",
    )


def lost() -> tuple[Plan, Plan, Memory]:
    """The plans before and after the broker was lost."""
    before, memory = plan(seen(0, away=False), Memory())
    after, memory = plan(seen(60, away=True), memory)
    return before, after, memory


def verdicts(status: ModelStatus | PoolStatus) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in status.conditions}


def test_two_conditions_of_a_model_say_so_and_all_else_stays() -> None:
    before, after, _ = lost()
    was, now = before.model_statuses["a"], after.model_statuses["a"]
    told = {"QueueReady", "Ready"}

    assert now.message == AWAY
    assert {verdicts(now)[each] for each in told} == {("False", "BrokerUnreachable")}
    assert [c for c in now.conditions if c.type not in told] == [
        c for c in was.conditions if c.type not in told
    ]
    unchanged = {"conditions": was.conditions, "message": was.message}
    assert now.model_copy(update=unchanged) == was


def test_one_condition_of_a_pool_says_so_and_all_else_stays() -> None:
    before, after, _ = lost()
    was, now = before.pool_statuses["cpu"], after.pool_statuses["cpu"]

    assert verdicts(now)["BrokerReachable"] == ("False", "BrokerUnreachable")
    assert now.model_copy(update={"conditions": was.conditions}) == was


def test_nothing_is_assigned_and_no_pool_changes() -> None:
    before, after, _ = lost()

    assert after.assignments == {}
    assert after.pools["cpu"].workers == before.pools["cpu"].workers
    assert after.pools["cpu"].drain == ()


def test_it_is_written_once() -> None:
    _, first, memory = lost()

    second, _ = plan(seen(120, away=True), memory)

    assert second.model_statuses == first.model_statuses
    assert second.pool_statuses == first.pool_statuses


def test_an_operator_that_starts_without_a_broker_says_so_of_new_models_too() -> None:
    decided, _ = plan(seen(0, away=True), Memory())

    assert verdicts(decided.model_statuses["a"])["Ready"] == ("False", "BrokerUnreachable")
    assert decided.waiting["a"] == AWAY


def test_an_operator_that_is_restarted_meanwhile_writes_nothing() -> None:
    _, after, _ = lost()
    away = seen(120, away=True)
    kept = away.models["a"].manifest.model_copy(update={"status": after.model_statuses["a"]})
    restarted = replace(away, models={"a": replace(away.models["a"], manifest=kept)})

    decided, _ = plan(restarted, Memory())

    assert decided.model_statuses == after.model_statuses


def test_all_is_as_it_was_when_the_broker_is_back() -> None:
    before, _, memory = lost()

    back, _ = plan(seen(180, away=False), memory)

    def without_times(status: ModelStatus) -> ModelStatus:
        untimed = [c.model_copy(update={"last_transition_time": ""}) for c in status.conditions]
        return status.model_copy(update={"conditions": untimed})

    assert verdicts(back.model_statuses["a"])["Ready"] == ("True", "Loaded")
    assert without_times(back.model_statuses["a"]) == without_times(before.model_statuses["a"])


def test_while_the_operator_only_listens_no_status_changes() -> None:
    _, _, memory = lost()

    listening, _ = plan(seen(180, away=False, settled=False), memory)

    assert (listening.model_statuses, listening.pool_statuses) == ({}, {})
