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
from captionfleet_operator.planner import Memory

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


def test_a_download_takes_no_turn_to_load() -> None:
    fetching = [worker("cpu-1", copy("a", "downloading"))]
    names = ["a", "b", "c"]

    decided = decide(
        world(
            models=[model(name) for name in names],
            pools=[pool()],
            workers=fetching,
            demand=dict.fromkeys(names, 1),
        )
    )

    assert loaded(decided) == ["a", "b"]
    assert decided.waiting["c"] == "waiting for its turn to load on cpu-1: b loads there first"


def test_a_model_is_fetched_where_no_other_is_fetched() -> None:
    workers = [worker("cpu-1", copy("a", "downloading")), worker("cpu-2", copy("z"), copy("y"))]
    demand = {"a": 1, "b": 1, "y": 1, "z": 1}

    decided = decide(
        world(
            models=[model(name) for name in demand], pools=[pool()], workers=workers, demand=demand
        )
    )

    assert loaded(decided, "cpu-2") == ["b", "y", "z"]


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


def test_half_precision_counts_in_the_format_that_it_loads_in() -> None:
    half = model("a", weights=3 * GB)
    for device, tried in (("CPU", []), ("GPU", ["a"])):
        seen = world(
            models=[half], pools=[pool()], workers=[worker(device=device)], demand={"a": 1}
        )
        assert loaded(decide(seen)) == tried
    asked = model("a", weights=3 * GB, loader={"dtype": "bfloat16"})
    seen = world(models=[asked], pools=[pool()], workers=[worker()], demand={"a": 1})
    assert loaded(decide(seen)) == ["a"]


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


def test_workers_keep_the_files_they_have_and_look_for_those_in_folders() -> None:
    folder = model("b", source={"volume": {"path": "/models/b"}})
    seen = world(
        models=[model("a"), folder, model("c")], pools=[pool()], workers=[worker(cached=["a"])]
    )

    assert decide(seen).assignments["cpu-1"] == {"a": Wanted.CACHED, "b": Wanted.CACHED}


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


CLAIMED: dict[str, Any] = {"source": {"volume": {"claimName": "photos", "path": "blip"}}}


def test_a_model_of_a_claim_goes_to_a_pool_that_mounts_it() -> None:
    mounting = pool("mounting", volumes=[{"claimName": "photos"}])
    seen = world(
        models=[model("a", **CLAIMED)],
        pools=[pool(), mounting],
        workers=[worker("cpu-1"), worker("m-1", pool="mounting")],
        demand={"a": 1},
        kubernetes=True,
    )

    assert (loaded(decide(seen), "cpu-1"), loaded(decide(seen), "m-1")) == ([], ["a"])


def test_a_claim_that_no_pool_mounts_is_named_with_the_field_that_mounts_it() -> None:
    labeled = pool("other", modelSelector={"matchLabels": {"tier": "big"}})
    seen = world(models=[model("a", **CLAIMED)], pools=[pool(), labeled], kubernetes=True)

    decided = decide(seen)

    assert decided.waiting["a"] == (
        "no pool mounts the claim photos: add it to spec.volumes of pool cpu"
    )
    judged = {each.type: each for each in decided.model_statuses["a"].conditions}
    for type_ in ("Accepted", "Ready"):
        assert (judged[type_].status, judged[type_].reason) == ("False", "VolumeNotMounted")


def test_outside_kubernetes_a_claim_is_refused_with_what_to_write_instead() -> None:
    seen = world(models=[model("a", **CLAIMED)], pools=[pool(volumes=[{"claimName": "photos"}])])

    assert decide(seen).waiting["a"] == (
        "source.volume.claimName photos needs Kubernetes: remove it, and let source.volume.path "
        "name a folder of this machine"
    )


def test_of_many_pools_that_refuse_only_the_first_are_named() -> None:
    pools = [pool(f"p{n}", modelSelector={"matchLabels": {"tier": "big"}}) for n in range(9)]

    sentence = decide(world(models=[model("a")], pools=pools)).waiting["a"]

    assert sentence.count("refuses") == 5
    assert sentence.endswith(" and 4 more")


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
