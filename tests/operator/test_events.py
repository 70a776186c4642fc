"""Events tell of transitions, each once, and never of a turn in which nothing happened."""

from dataclasses import replace
from typing import Any

from tests.operator.fleets import GB, copy, model, pool, worker, world

from captionfleet.messages import Copy
from captionfleet_operator.planner import (
    Event,
    Memory,
    ModelSeen,
    OwnWorker,
    PoolMemory,
    World,
    events,
    plan,
)


def told(*turns: World, memory: Memory | None = None) -> list[list[tuple[str, str, str]]]:
    """(name, type, reason) of the events of each of these turns."""
    return [
        [(e.name, e.type, e.reason) for e in each] for each in told_whole(*turns, memory=memory)
    ]


def told_whole(*turns: World, memory: Memory | None = None) -> list[list[Event]]:
    memory, found = memory or Memory(), []
    for seen in turns:
        decided, after = plan(seen, memory)
        found.append(events(seen, memory, decided))
        memory = after
    return found


def turn(*copies: Copy, seen: ModelSeen | None = None, total: int = 0, **facts: Any) -> World:
    return world(
        models=[seen or model("a")],
        pools=[pool()],
        workers=[worker("cpu-1", *copies)],
        demand={"a": total} if total else {},
        **facts,
    )


def test_a_new_model_is_told_of_when_it_is_ready_and_not_again() -> None:
    new, ready, idle = turn(), turn(copy("a")), turn()

    assert told(new, ready, ready, idle) == [[], [("a", "Normal", "Ready")], [], []]


def test_a_failure_is_told_once_with_its_reason_and_words() -> None:
    failed = copy("a", "failed", reason="CodeError", message="line 3", retry_in_seconds=9.0)
    again = copy("a", "failed", reason="CodeError", message="line 3", state_seconds=0.0)

    first, *others = told_whole(
        turn(failed, total=1), turn(copy("a", "loading"), total=1), turn(again, total=1)
    )

    about = [event for event in first if event.name == "a"]
    assert [(e.type, e.reason, e.message) for e in about] == [
        ("Warning", "CodeError", "line 3 (on cpu-1)")
    ]
    assert others == [[], []]


def test_a_model_that_no_pool_takes_any_more_is_told_of() -> None:
    refused = turn(copy("a"), seen=model("a", requirements={"device": "GPU"}))

    assert told(turn(copy("a")), refused)[1] == [("a", "Warning", "NoMatchingPool")]


def test_what_a_person_asked_for_is_no_warning() -> None:
    suspended = turn(copy("a"), seen=model("a", suspend=True))

    assert told(turn(copy("a")), suspended)[1] == [("a", "Normal", "Suspended")]


def test_an_eviction_names_what_it_makes_room_for() -> None:
    full = worker("cpu-1", copy("a", memory_bytes=3 * GB), memory=4 * GB)
    seen = world(
        models=[model("a"), model("b", requirements={"memory": "2G"})],
        pools=[pool()],
        workers=[full],
    )
    wanted = replace(seen, demand=turn(total=1).demand)
    wanted = replace(wanted, demand={"b": wanted.demand["a"]})

    _, first, second = told_whole(seen, wanted, wanted)

    assert [(e.name, e.reason, e.message) for e in first] == [
        ("a", "Evicted", "evicted a from cpu-1 to load b")
    ]
    assert second == []


def test_a_change_of_size_is_told_with_its_reason() -> None:
    small = Memory(pools={"cpu": PoolMemory(1)})

    first = told_whole(turn(copy("a", rates={1: 1.0}), total=60), memory=small)[0]

    assert [(e.kind, e.name, e.type, e.reason, e.message) for e in first if e.name == "cpu"] == [
        (
            "CaptionWorkerPool",
            "cpu",
            "Normal",
            "Scaled",
            "from 1 to 2 workers: 60 s of work wait for a; 30 s per worker are fine",
        )
    ]


def test_what_ails_a_pool_is_told_when_it_comes_and_goes_and_not_by_its_models() -> None:
    def at(trouble: str, reason: str) -> World:
        starting = pool(own=[OwnWorker("cpu-1", 9.0)], trouble=trouble, reason=reason)
        return world(models=[model("a")], pools=[starting], demand={"a": 1})

    stuck, well = at("no node has a GPU", "Unschedulable"), at("", "")
    one = Memory(pools={"cpu": PoolMemory(1)})

    assert told(stuck, stuck, well, memory=one) == [
        [("cpu", "Warning", "Unschedulable")],
        [],
        [("cpu", "Normal", "UnschedulableOver")],
    ]


def test_a_broker_that_is_away_is_told_once_per_pool() -> None:
    ready, away = turn(copy("a")), turn(settled=False, broker_trouble="no answer")

    assert told(ready, away, away, ready)[1:] == [
        [("cpu", "Warning", "BrokerUnreachable")],
        [],
        [("cpu", "Normal", "BrokerUnreachableOver")],
    ]


def test_a_restarted_operator_tells_nothing_again() -> None:
    ready = turn(copy("a"))
    decided, _ = plan(ready, Memory())
    models = {
        "a": replace(
            ready.models["a"],
            manifest=ready.models["a"].manifest.model_copy(
                update={"status": decided.model_statuses["a"]}
            ),
        )
    }
    pools = {
        "cpu": replace(
            ready.pools["cpu"],
            manifest=ready.pools["cpu"].manifest.model_copy(
                update={"status": decided.pool_statuses["cpu"]}
            ),
        )
    }

    assert told(replace(ready, models=models, pools=pools)) == [[]]
