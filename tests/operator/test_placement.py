"""Which copy goes where: the rules of placement, retention and eviction, one by one."""

from typing import Any

from tests.operator.fleets import (
    GB,
    START,
    copy,
    decide,
    loaded,
    model,
    pinned,
    pool,
    worker,
    world,
)

from captionfleet.messages import Wanted
from captionfleet_operator.planner import Memory, plan

MEMORY = {"memory": "2G"}


def test_a_model_without_demand_is_not_loaded() -> None:
    decided = decide(world(models=[model("a")], pools=[pool()], workers=[worker()]))

    assert loaded(decided) == []


def test_a_model_is_loaded_when_pictures_wait() -> None:
    decided = decide(
        world(models=[model("a"), model("b")], pools=[pool()], workers=[worker()], demand={"a": 1})
    )

    assert loaded(decided) == ["a"]


def test_a_pinned_model_is_loaded_without_demand() -> None:
    assert loaded(decide(world(models=[pinned("a")], pools=[pool()], workers=[worker()]))) == ["a"]


def test_a_pin_comes_before_demand() -> None:
    models = [model("a", requirements=MEMORY), pinned("z", requirements=MEMORY)]

    decided = decide(
        world(models=models, pools=[pool()], workers=[worker(memory=3 * GB)], demand={"a": 9})
    )

    assert loaded(decided) == ["z"]
    assert decided.waiting["a"].startswith("waiting for memory: needs 2.0 GB, largest free is")


def test_higher_priority_is_loaded_first() -> None:
    models = [model("a"), model("z", residency={"priority": 80})]

    decided = decide(
        world(models=models, pools=[pool()], workers=[worker()], demand={"a": 9, "z": 1})
    )

    assert loaded(decided) == ["z"]
    assert decided.waiting["a"] == "waiting for its turn to load on cpu-1: z loads there first"


def test_among_equals_the_one_that_waits_longest_is_loaded_first() -> None:
    seen = world(
        models=[model("a"), model("z")], pools=[pool()], workers=[worker()], demand={"a": 1, "z": 1}
    )

    assert loaded(decide(seen, Memory(waiting_since={"z": START - 60}))) == ["z"]


def test_as_many_models_load_at_once_as_the_pool_allows() -> None:
    decided = decide(
        world(
            models=[model("a"), model("b"), model("c")],
            pools=[pool(hosting={"maxConcurrentLoads": 2})],
            workers=[worker()],
            demand={"a": 1, "b": 1, "c": 1},
        )
    )

    assert loaded(decided) == ["a", "b"]


def test_nothing_is_placed_into_the_headroom() -> None:
    seen = world(
        models=[model("a", requirements={"memory": "900M"})],
        pools=[pool(hosting={"memoryHeadroomPercent": 15})],
        workers=[worker(memory=1 * GB)],
        demand={"a": 1},
    )

    assert loaded(decide(seen)) == []
    assert "needs 900 MB, largest free is 850 MB on cpu-1" in decide(seen).waiting["a"]


def test_memory_that_others_use_is_not_planned() -> None:
    seen = world(
        models=[model("a", requirements=MEMORY)],
        pools=[pool()],
        workers=[worker(memory=4 * GB, used=3 * GB)],
        demand={"a": 1},
    )

    assert loaded(decide(seen)) == []


def test_workers_of_one_host_share_its_memory() -> None:
    busy = worker("cpu-1", copy("a", memory_bytes=2 * GB), memory=4 * GB, host="here")
    seen = world(
        models=[model("a"), model("b", requirements=MEMORY)],
        pools=[pool()],
        workers=[busy, worker("cpu-2", memory=4 * GB, host="here")],
        demand={"a": 1, "b": 1},
    )

    assert loaded(decide(seen), "cpu-2") == []


def test_measured_memory_wins_over_what_is_stated() -> None:
    busy = worker("cpu-1", copy("a", memory_bytes=5 * GB))
    seen = world(
        models=[model("a", requirements={"memory": "1G"})],
        pools=[pool()],
        workers=[busy, worker("cpu-2", memory=4 * GB)],
        demand={"a": 10000},
    )

    assert loaded(decide(seen), "cpu-2") == []


def test_stated_memory_wins_over_an_estimate_from_the_weights() -> None:
    stated = model("a", weights=9 * GB, requirements=MEMORY)
    seen = world(models=[stated], pools=[pool()], workers=[worker()], demand={"a": 1})

    assert loaded(decide(seen)) == ["a"]


def test_weights_that_are_too_large_are_not_tried() -> None:
    seen = world(
        models=[model("a", weights=9 * GB)], pools=[pool()], workers=[worker()], demand={"a": 1}
    )

    assert loaded(decide(seen)) == []


def test_a_model_of_unknown_size_may_have_a_small_machine_for_itself() -> None:
    seen = world(
        models=[model("a")], pools=[pool()], workers=[worker(memory=1 * GB)], demand={"a": 1}
    )

    assert loaded(decide(seen)) == ["a"]


def test_a_worker_that_has_the_files_is_preferred() -> None:
    decided = decide(
        world(
            models=[model("a")],
            pools=[pool()],
            workers=[worker("cpu-1"), worker("cpu-2", cached=["a"])],
            demand={"a": 1},
        )
    )

    assert (loaded(decided, "cpu-1"), loaded(decided, "cpu-2")) == ([], ["a"])


def test_models_spread_over_idle_workers() -> None:
    decided = decide(
        world(
            models=[model("a"), model("b")],
            pools=[pool()],
            workers=[worker("cpu-1", copy("a")), worker("cpu-2")],
            demand={"a": 1, "b": 1},
        )
    )

    assert loaded(decided, "cpu-2") == ["b"]


def test_both_selectors_must_agree() -> None:
    models = [
        model("a", labels={"tier": "big"}, poolSelector={"matchLabels": {"site": "x"}}),
        model("b", poolSelector={"matchLabels": {"site": "x"}}),
        model("c", labels={"tier": "big"}, poolSelector={"matchLabels": {"site": "y"}}),
    ]
    chosen = pool(
        labels={"site": "x"},
        modelSelector={"matchLabels": {"tier": "big"}},
        hosting={"maxConcurrentLoads": 9},
    )

    decided = decide(
        world(models=models, pools=[chosen], workers=[worker()], demand={"a": 1, "b": 1, "c": 1})
    )

    assert loaded(decided) == ["a"]
    assert decided.waiting["b"] == (
        "no pool takes this model: cpu refuses: the pool's modelSelector wants tier=big"
    )
    assert "the model's poolSelector wants site=y" in decided.waiting["c"]


def test_a_model_that_requires_a_gpu_stays_off_a_cpu() -> None:
    seen = world(
        models=[model("a", requirements={"device": "GPU"})],
        pools=[pool()],
        workers=[worker()],
        demand={"a": 1},
    )

    assert loaded(decide(seen)) == []
    assert "requirements.device is GPU, the pool has CPU" in decide(seen).waiting["a"]


def test_more_copies_are_loaded_when_one_needs_longer_than_the_target() -> None:
    busy = worker("cpu-1", copy("a", rates={4: 2.0}, idle_seconds=0))
    seen = world(
        models=[model("a")],
        pools=[pool(autoscaling={"targetBacklogSeconds": 30})],
        workers=[busy, worker("cpu-2"), worker("cpu-3")],
        demand={"a": 100},
    )

    decided = decide(seen)

    assert (loaded(decided, "cpu-2"), loaded(decided, "cpu-3")) == (["a"], [])


def test_max_copies_bounds_the_copies() -> None:
    busy = worker("cpu-1", copy("a", rates={4: 1.0}, idle_seconds=0))
    seen = world(
        models=[model("a", residency={"maxCopies": 1})],
        pools=[pool()],
        workers=[busy, worker("cpu-2")],
        demand={"a": 10000},
    )

    assert loaded(decide(seen), "cpu-2") == []


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

    assert "allows 1 models per worker (hosting.maxModels)" in decide(seen).waiting["b"]


def test_a_suspended_model_is_unloaded_and_says_so() -> None:
    seen = world(
        models=[model("a", suspend=True)],
        pools=[pool()],
        workers=[worker("cpu-1", copy("a"))],
        demand={"a": 5},
    )

    assert loaded(decide(seen)) == []
    assert decide(seen).waiting["a"] == "suspended: set spec.suspend to false to go on"


def test_a_copy_of_an_older_spec_stays_assigned_so_that_its_worker_replaces_it() -> None:
    old = worker("cpu-1", copy("a", fingerprint="old"))
    decided = decide(world(models=[model("a")], pools=[pool()], workers=[old], demand={"a": 1}))

    assert loaded(decided) == ["a"]
    assert decided.model_statuses["a"].phase == "Updating"


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


def test_running_copies_are_adopted_after_a_restart() -> None:
    running = worker("cpu-1", copy("a", idle_seconds=3), copy("b", "loading"))
    decided = decide(world(models=[model("a"), model("b")], pools=[pool()], workers=[running]))

    assert loaded(decided) == ["a", "b"]


def test_nothing_is_assigned_before_the_operator_has_listened() -> None:
    seen = world(
        models=[model("a")], pools=[pool()], workers=[worker()], demand={"a": 1}, settled=False
    )

    decided = decide(seen)

    assert decided.assignments == {}
    assert decided.model_statuses == {}
    assert decided.waiting["a"] == "the operator has just connected and listens before it acts"


def test_a_silent_worker_gets_nothing_new() -> None:
    seen = world(models=[model("a")], pools=[pool()], workers=[worker(silent=11)], demand={"a": 1})

    assert loaded(decide(seen)) == []
    assert decide(seen).waiting["a"] == "worker cpu-1 has not been heard for 11 s"


def test_the_copies_of_a_leaving_worker_are_placed_elsewhere_and_not_touched_there() -> None:
    leaving = worker("cpu-1", copy("a"), draining=True)
    seen = world(
        models=[model("a")], pools=[pool()], workers=[leaving, worker("cpu-2")], demand={"a": 1}
    )

    decided = decide(seen)

    assert (loaded(decided, "cpu-1"), loaded(decided, "cpu-2")) == (["a"], ["a"])
