"""What a person asks of one worker: before pins and the planner, or a reason in words."""

from dataclasses import replace
from typing import Any

import pytest
from tests.operator.fleets import (
    GB,
    copy,
    decide,
    loaded,
    model,
    pinned,
    pool,
    worker,
    world,
)

from captionfleet.messages import Download, FilesState, OverrideState, Wanted
from captionfleet_operator.planner import Memory, WorkerSeen, World, plan


def asked(**models: str) -> dict[str, dict[str, Wanted]]:
    return {"cpu-1": {name: Wanted(state) for name, state in models.items()}}


def state(seen: World, name: str = "a", of: str = "cpu-1") -> OverrideState:
    return plain(decide(seen).overrides[of][name])


def plain(told: OverrideState) -> OverrideState:
    """Without the question that it answers."""
    assert told.wanted
    return told.model_copy(update={"wanted": None})


def with_files(seen: WorkerSeen, *files: FilesState) -> WorkerSeen:
    return replace(seen, heartbeat=seen.heartbeat.model_copy(update={"files": list(files)}))


def test_a_model_is_loaded_where_a_person_asked_though_nobody_needs_it() -> None:
    workers = [worker("cpu-1"), worker("cpu-2")]
    seen = world(models=[model("a")], pools=[pool()], workers=workers, overrides=asked(a="loaded"))
    decided = decide(seen)
    assert (loaded(decided, "cpu-1"), loaded(decided, "cpu-2")) == (["a"], [])
    assert plain(decided.overrides["cpu-1"]["a"]) == OverrideState(message="about to load")


def test_a_copy_that_was_asked_for_is_neither_idled_away_nor_evicted() -> None:
    here = worker("cpu-1", copy("a", idle_seconds=9999, memory_bytes=5 * GB), memory=8 * GB)
    models = [model("a"), model("b", requirements={"memory": "5G"})]
    seen = world(
        models=models, pools=[pool()], workers=[here], demand={"b": 5}, overrides=asked(a="loaded")
    )
    assert loaded(decide(seen)) == ["a"]
    assert loaded(decide(replace(seen, overrides={}))) == []
    assert state(seen) == OverrideState(message="loaded", done=True)


def test_what_was_asked_for_takes_the_place_of_a_pin_but_not_of_work_in_flight() -> None:
    models = [model("a", requirements={"memory": "5G"}), pinned("p")]
    idle = worker("cpu-1", copy("p", memory_bytes=5 * GB))
    seen = world(models=models, pools=[pool()], workers=[idle], overrides=asked(a="loaded"))
    assert loaded(decide(seen)) == []
    assert state(seen).message == "waiting for p to unload before it loads on cpu-1"
    busy = worker("cpu-1", copy("p", memory_bytes=5 * GB, idle_seconds=0))
    seen = replace(seen, workers={"cpu-1": busy})
    assert loaded(decide(seen)) == ["p"]
    told = state(seen)
    assert told.refused
    assert told.message.startswith("waiting for memory: needs 5.0 GB, largest free is")


def test_what_cannot_fit_is_never_tried() -> None:
    big = model("a", requirements={"memory": "14G"})
    seen = world(
        models=[big], pools=[pool()], workers=[worker("cpu-1")], overrides=asked(a="loaded"),
        demand={"a": 3},
    )  # fmt: skip
    decided = decide(seen)
    assert loaded(decided) == []
    assert plain(decided.overrides["cpu-1"]["a"]) == OverrideState(
        message="it cannot fit: it needs 14.0 GB, and cpu-1 has 6.8 GB for models in all",
        refused=True,
    )
    why = "waiting for memory: needs 14.0 GB, largest free is 6.8 GB on cpu-1"
    assert decided.waiting["a"] == why


def test_measured_memory_replaces_what_was_stated() -> None:
    here, there = worker("cpu-1"), worker("cpu-2", copy("a", memory_bytes=1 * GB))
    big = model("a", requirements={"memory": "14G"})
    seen = world(models=[big], pools=[pool()], workers=[here, there], overrides=asked(a="loaded"))
    assert loaded(decide(seen)) == ["a"]


def test_what_was_asked_for_waits_for_its_turn_to_load() -> None:
    here = worker("cpu-1", copy("b", "loading"))
    seen = world(
        models=[model("a"), model("b")], pools=[pool()], workers=[here], demand={"b": 1},
        overrides=asked(a="loaded"),
    )  # fmt: skip
    assert loaded(decide(seen)) == ["b"]
    assert state(seen).message == "waiting for its turn to load on cpu-1: b loads there first"


@pytest.mark.parametrize(
    ("facts", "of_pool", "sentence"),
    [
        ({"suspend": True}, {}, "the model is suspended: set spec.suspend to false"),
        (
            {"requirements": {"device": "GPU"}},
            {},
            "pool cpu refuses it: requirements.device is GPU, the pool has CPU",
        ),
        (
            {"poolSelector": {"matchLabels": {"tier": "gold"}}},
            {},
            "pool cpu refuses it: the model's poolSelector wants tier=gold",
        ),
        ({}, {"suspend": True}, "pool cpu is gone or suspended"),
    ],
)
def test_what_the_worker_does_not_take_is_refused_in_words(
    facts: dict[str, Any], of_pool: dict[str, Any], sentence: str
) -> None:
    seen = world(
        models=[model("a", **facts)], pools=[pool(**of_pool)], workers=[worker("cpu-1")],
        overrides=asked(a="loaded"),
    )  # fmt: skip
    assert state(seen) == OverrideState(message=sentence, refused=True)


def test_a_custom_class_that_the_worker_lacks_is_named() -> None:
    own = model("a", source=None, custom={"entrypoint": "mine:Mine"})
    seen = world(
        models=[own], pools=[pool()], workers=[worker("cpu-1")], overrides=asked(a="loaded")
    )
    assert "no worker has the class mine:Mine (cpu-1)" in state(seen).message


@pytest.mark.parametrize("wanted", ["cached", "absent"])
def test_a_model_is_unloaded_and_kept_away_where_a_person_asked(wanted: str) -> None:
    here = worker("cpu-1", copy("p", idle_seconds=0), cached=["p"])
    seen = world(
        models=[pinned("p")], pools=[pool()], workers=[here, worker("cpu-2")],
        overrides=asked(p=wanted), demand={"p": 9},
    )  # fmt: skip
    decided = decide(seen)
    assert decided.assignments["cpu-1"]["p"] == Wanted(wanted)
    assert loaded(decided, "cpu-2") == ["p"]
    assert decided.overrides["cpu-1"]["p"].message.startswith("unloading")


def test_a_model_that_is_kept_away_from_every_worker_says_so_and_how_to_go_on() -> None:
    seen = world(
        models=[model("a")], pools=[pool(autoscaling={"maxReplicas": 1})],
        workers=[worker("cpu-1")], demand={"a": 2}, overrides=asked(a="absent"),
    )  # fmt: skip
    assert decide(seen).waiting["a"] == (
        "kept away from cpu-1 by an override: release it there "
        "(captionfleet release a --worker cpu-1), or wait for another worker"
    )


def test_files_are_told_of_while_they_are_fetched_and_when_they_are_there() -> None:
    fetching = FilesState(model="a", wanted=Wanted.CACHED, message="3 of 9 MB")
    refused = FilesState(model="a", wanted=Wanted.ABSENT, message="b uses them", failed=True)
    seen = world(
        models=[model("a")], pools=[pool()], workers=[with_files(worker("cpu-1"), fetching)],
        overrides=asked(a="cached"),
    )  # fmt: skip
    assert state(seen) == OverrideState(message="3 of 9 MB")
    done = replace(seen, workers={"cpu-1": worker("cpu-1", cached=["a"])})
    assert state(done).done
    evicting = with_files(worker("cpu-1", cached=["a"]), refused)
    seen = replace(seen, workers={"cpu-1": evicting}, overrides=asked(a="absent"))
    assert state(seen) == OverrideState(message="b uses them", refused=True)
    gone = replace(seen, workers={"cpu-1": worker("cpu-1")})
    assert state(gone) == OverrideState(message="nothing of it is here", done=True)


def test_a_fetch_that_was_asked_for_is_told_in_numbers() -> None:
    half = Download(files_done=1, files_total=2, bytes_done=3 * 10**6, bytes_total=9 * 10**6)
    fetching = FilesState(model="a", wanted=Wanted.CACHED, message="fetching", download=half)
    seen = world(
        models=[model("a")], pools=[pool()], workers=[with_files(worker("cpu-1"), fetching)],
        overrides=asked(a="cached"),
    )  # fmt: skip
    assert state(seen) == OverrideState(message="fetching; 3.0 of 9.0 MB")


def test_overrides_bring_no_worker_and_hold_none() -> None:
    small = pool(autoscaling={"minReplicas": 0, "scaleToZeroAfterSeconds": 1,
                              "scaleDown": {"stabilizationSeconds": 0}})  # fmt: skip
    here = worker("cpu-1", copy("a", idle_seconds=500))
    seen = world(
        models=[model("a")], pools=[small], workers=[here], overrides=asked(a="loaded", b="cached")
    )
    memory = Memory()
    for _ in range(3):
        decided, memory = plan(seen, memory)
        seen = replace(seen, now=seen.now + 60)
    assert (decided.pools["cpu"].workers, decided.pools["cpu"].drain) == (0, ("cpu-1",))


def test_an_override_on_a_model_that_is_gone_says_so() -> None:
    seen = world(pools=[pool()], workers=[worker("cpu-1")], overrides=asked(a="loaded"))
    assert state(seen) == OverrideState(message="there is no model a any more", refused=True)
