"""Which copies go: by idling, for a model that needs the place, or because they failed."""

from typing import Any

from tests.operator.fleets import GB, START, copy, decide, loaded, model, pool, worker, world

from captionfleet.messages import Wanted
from captionfleet_operator.planner import Memory, plan

MEMORY = {"memory": "2G"}


def test_an_idle_copy_is_unloaded_after_its_time_and_its_files_are_kept() -> None:
    idle = worker("cpu-1", copy("a", idle_seconds=601), cached=["a"])
    decided = decide(world(models=[model("a")], pools=[pool()], workers=[idle]))

    assert decided.assignments["cpu-1"] == {"a": Wanted.CACHED}


def test_a_copy_that_is_not_idle_for_long_stays() -> None:
    idle = worker("cpu-1", copy("a", idle_seconds=599))

    assert loaded(decide(world(models=[model("a")], pools=[pool()], workers=[idle]))) == ["a"]


def test_min_copies_of_a_model_on_demand_stay_once_loaded() -> None:
    kept = model("a", residency={"minCopies": 1})
    idle = worker("cpu-1", copy("a", idle_seconds=9000))

    assert loaded(decide(world(models=[kept], pools=[pool()], workers=[idle]))) == ["a"]
    assert loaded(decide(world(models=[kept], pools=[pool()], workers=[worker()]))) == []


def eviction(victim: dict[str, Any], copy_facts: dict[str, Any], **demand: int) -> list[str]:
    """What stays loaded where `a` fills a worker and `b` wants to come in."""
    holder = worker("cpu-1", copy("a", memory_bytes=3 * GB, **copy_facts), memory=4 * GB)
    seen = world(
        models=[model("a", residency=victim), model("b", requirements=MEMORY)],
        pools=[pool()],
        workers=[holder],
        demand={"b": 1, **demand},
    )
    return loaded(decide(seen))


def test_an_idle_copy_makes_room_for_a_demanded_model() -> None:
    assert eviction({}, {"idle_seconds": 30}) == []


def test_a_copy_with_work_in_flight_is_never_evicted() -> None:
    assert eviction({}, {"idle_seconds": 0}) == ["a"]


def test_a_young_copy_is_never_evicted() -> None:
    assert eviction({"minResidencySeconds": 60}, {"state_seconds": 59}) == ["a"]


def test_a_pinned_copy_is_never_evicted() -> None:
    assert eviction({"policy": "Pinned", "minCopies": 1}, {"idle_seconds": 99}) == ["a"]


def test_a_demanded_model_yields_to_none_of_its_own_priority() -> None:
    assert eviction({}, {"idle_seconds": 30}, a=1) == ["a"]


def test_a_demanded_model_yields_to_a_higher_priority() -> None:
    assert eviction({"priority": 10}, {"idle_seconds": 30}, a=1) == []


def test_what_waits_for_an_eviction_says_so_and_nothing_more_is_evicted() -> None:
    holders = [
        worker("cpu-1", copy("a", memory_bytes=3 * GB), memory=4 * GB),
        worker("cpu-2", copy("c", memory_bytes=3 * GB, idle_seconds=50), memory=4 * GB),
    ]
    models = [model("a"), model("b", requirements=MEMORY), model("c")]
    seen = world(models=models, pools=[pool()], workers=holders, demand={"b": 1})

    first, memory = plan(seen, Memory())
    second, _ = plan(seen, memory)

    assert first.waiting["b"] == "waiting for c to unload before it loads on cpu-2"
    assert loaded(first, "cpu-1") == loaded(second, "cpu-1") == ["a"]
    assert loaded(first, "cpu-2") == loaded(second, "cpu-2") == []


def test_each_of_two_waiting_models_gets_a_place_of_its_own() -> None:
    holders = [
        worker("cpu-1", copy("a", memory_bytes=3 * GB), memory=4 * GB),
        worker("cpu-2", copy("b", memory_bytes=3 * GB), memory=4 * GB),
    ]
    wanting = [model("c", requirements=MEMORY), model("d", requirements=MEMORY)]
    seen = world(
        models=[model("a"), model("b"), *wanting],
        pools=[pool()],
        workers=holders,
        demand={"c": 1, "d": 1},
    )

    decided = decide(seen)

    assert loaded(decided, "cpu-1") == loaded(decided, "cpu-2") == []
    assert decided.waiting["c"] == "waiting for a to unload before it loads on cpu-1"
    assert decided.waiting["d"] == "waiting for b to unload before it loads on cpu-2"


def test_a_copy_above_max_copies_goes_once_it_has_no_work() -> None:
    few = model("a", residency={"maxCopies": 1})
    at_work = [worker(id_, copy("a", idle_seconds=0)) for id_ in ("cpu-1", "cpu-2")]
    idle = [at_work[0], worker("cpu-2", copy("a", idle_seconds=2))]

    both = decide(world(models=[few], pools=[pool()], workers=at_work, demand={"a": 9}))
    one = decide(world(models=[few], pools=[pool()], workers=idle, demand={"a": 9}))

    assert (loaded(both, "cpu-1"), loaded(both, "cpu-2")) == (["a"], ["a"])
    assert (loaded(one, "cpu-1"), loaded(one, "cpu-2")) == (["a"], [])


def test_the_lowest_priority_and_longest_idle_copy_is_evicted_first() -> None:
    copies = [
        copy("a", memory_bytes=1 * GB, idle_seconds=90),
        copy("b", memory_bytes=1 * GB, idle_seconds=50),
        copy("c", memory_bytes=1 * GB, idle_seconds=40),
    ]
    models = [model(n, residency={"priority": p}) for n, p in (("a", 60), ("b", 40), ("c", 40))]
    wanting = model("d", requirements={"memory": "1G"})
    seen = world(
        models=[*models, wanting],
        pools=[pool()],
        workers=[worker("cpu-1", *copies, memory=4 * GB)],
        demand={"d": 1},
    )

    assert loaded(decide(seen)) == ["a", "c"]


def test_max_models_is_a_ceiling_and_evicts_an_idle_copy() -> None:
    seen = world(
        models=[model("a"), model("b")],
        pools=[pool(hosting={"maxModels": 1})],
        workers=[worker("cpu-1", copy("a", memory_bytes=GB))],
        demand={"b": 1},
    )

    assert loaded(decide(seen)) == []


def test_a_full_place_names_the_limit() -> None:
    seen = world(
        models=[model("a"), model("b")],
        pools=[pool(hosting={"maxModels": 1}, autoscaling={"maxReplicas": 1})],
        workers=[worker("cpu-1", copy("a", memory_bytes=GB, idle_seconds=0))],
        demand={"a": 1, "b": 1},
    )

    assert (
        "hosting.maxModels of pool cpu is 1 and the models there are needed"
        in decide(seen).waiting["b"]
    )


def test_a_copy_that_ran_out_of_memory_is_tried_on_another_worker() -> None:
    failed = worker("cpu-1", copy("a", "failed", reason="OutOfMemory", retry_in_seconds=5))
    seen = world(
        models=[model("a")], pools=[pool()], workers=[failed, worker("cpu-2")], demand={"a": 1}
    )

    decided = decide(seen)

    assert (loaded(decided, "cpu-1"), loaded(decided, "cpu-2")) == ([], ["a"])


def test_a_copy_that_fails_by_its_own_fault_is_not_tried_elsewhere() -> None:
    failed = worker("cpu-1", copy("a", "failed", reason="MissingWeights", retry_in_seconds=5))
    seen = world(
        models=[model("a")], pools=[pool()], workers=[failed, worker("cpu-2")], demand={"a": 1}
    )

    decided = decide(seen)

    assert (loaded(decided, "cpu-1"), loaded(decided, "cpu-2")) == (["a"], [])


def test_a_model_that_fails_everywhere_settles_where_it_failed_last() -> None:
    failed = worker("cpu-2", copy("a", "failed", reason="OutOfMemory", retry_in_seconds=5))
    seen = world(
        models=[model("a")], pools=[pool()], workers=[worker("cpu-1"), failed], demand={"a": 1}
    )

    decided = decide(seen, Memory(avoided={("a", "cpu-1"): START + 100}))

    assert (loaded(decided, "cpu-1"), loaded(decided, "cpu-2")) == ([], ["a"])
