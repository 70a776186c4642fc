"""Each new spec is loaded and tested once after apply, and nobody who waits is held up by it."""

from typing import Any

import pytest
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

from captionfleet.messages import Copy
from captionfleet.resources import ModelStatus
from captionfleet_operator.planner import Memory, ModelSeen, OwnWorker, PoolMemory, plan

FROM_ZERO = {"minReplicas": 0, "scaleToZeroAfterSeconds": 60}


def applied(name: str, **spec: Any) -> ModelSeen:
    """A model that is to be proven as soon as it is applied."""
    return model(name, acceptance={"prove": "OnApply"}, **spec)


def remembered(seen: ModelSeen, *copies: Copy, **facts: Any) -> Memory:
    """What is remembered after a turn in which cpu-1 had these copies."""
    one = world(models=[seen], pools=[pool()], workers=[worker("cpu-1", *copies)], **facts)
    return plan(one, Memory())[1]


def broken(retriable: bool, **facts: Any) -> Copy:
    reason = {"reason": "LoadFailed" if retriable else "UnsupportedModel"}
    told = {"message": "no such layer", "retry_in_seconds": 60.0, "state_seconds": 0.0}
    return copy("a", "failed", retriable=retriable, **{**reason, **told, **facts})


def ready(status: ModelStatus) -> tuple[str, str]:
    return next((each.status, each.reason) for each in status.conditions if each.type == "Ready")


def test_an_applied_model_is_loaded_though_no_picture_waits() -> None:
    seen = world(models=[applied("a")], pools=[pool()], workers=[worker()])

    decided = decide(seen)

    assert loaded(decided) == ["a"]
    assert ready(decided.model_statuses["a"]) == ("False", "NotYetProven")


def test_on_first_use_nothing_is_loaded_for_a_proof() -> None:
    assert loaded(decide(world(models=[model("a")], pools=[pool()], workers=[worker()]))) == []


def test_a_proven_model_goes_when_it_is_idle_and_stays_ready_on_standby() -> None:
    memory = remembered(applied("a"), copy("a"))
    idle = worker("cpu-1", copy("a", idle_seconds=601))

    unloading = decide(world(models=[applied("a")], pools=[pool()], workers=[idle]), memory)
    gone = decide(world(models=[applied("a")], pools=[pool()], workers=[worker()]), memory)

    assert loaded(unloading) == loaded(gone) == []
    assert ready(gone.model_statuses["a"]) == ("True", "Standby")


def test_a_changed_spec_is_proven_again() -> None:
    memory = remembered(applied("a"), copy("a"))
    changed = applied("a", generation={"numBeams": 3})

    assert loaded(decide(world(models=[changed], pools=[pool()], workers=[worker()]), memory))


@pytest.mark.parametrize("also", [{}, {"residency": {"priority": 90}}])
def test_a_restarted_operator_proves_nothing_again(also: dict[str, Any]) -> None:
    """Not even if Ready was lost, or the spec was changed in a way that needs no proof."""
    memory = remembered(applied("a"), copy("a"))
    away = world(models=[applied("a")], settled=False, broker_trouble="no answer from the broker")
    written = plan(away, memory)[0].model_statuses["a"]
    later = applied("a", **also)
    manifest = later.manifest.model_copy(update={"status": written})

    restarted = world(
        models=[ModelSeen(manifest, later.fingerprint)], pools=[pool()], workers=[worker()]
    )

    assert loaded(decide(restarted)) == []


def test_waiting_pictures_go_first() -> None:
    seen = world(
        models=[applied("a"), model("z")], pools=[pool()], workers=[worker()], demand={"z": 1}
    )

    decided = decide(seen)

    assert loaded(decided) == ["z"]
    assert decided.waiting["a"] == "waits to be proven: other models come first in pool cpu"


def test_a_proof_disturbs_no_worker_that_captions_unless_it_waited_for_long() -> None:
    busy = worker("cpu-1", copy("z", idle_seconds=0))
    seen = world(models=[applied("a"), model("z")], pools=[pool()], workers=[busy], demand={"z": 9})

    assert loaded(decide(seen)) == ["z"]
    assert loaded(decide(seen, Memory(waiting_since={"a": START - 120}))) == ["a", "z"]


def test_one_after_the_other_is_proven_on_each_worker() -> None:
    models = [applied(name) for name in "abcde"]
    seen = world(models=models, pools=[pool()], workers=[worker("cpu-1"), worker("cpu-2")])

    decided = decide(seen)

    assert (len(loaded(decided, "cpu-1")), len(loaded(decided, "cpu-2"))) == (1, 1)


@pytest.mark.parametrize("state", ["loading", "downloading"])
def test_a_proof_on_its_way_gives_up_its_turn_to_waiting_pictures(state: str) -> None:
    seen = world(
        models=[applied("a"), model("z")],
        pools=[pool()],
        workers=[worker("cpu-1", copy("a", state))],
        demand={"z": 1},
    )

    decided = decide(seen)

    assert loaded(decided) == ["z"]
    assert [(each.model, each.winner) for each in decided.evictions] == [("a", "z")]


def test_a_proof_goes_on_fetching_while_pictures_wait_for_what_is_there_already() -> None:
    busy = worker("cpu-1", copy("a", "downloading"), cached=["z"])
    seen = world(models=[applied("a"), model("z")], pools=[pool()], workers=[busy], demand={"z": 1})

    assert loaded(decide(seen)) == ["a", "z"]


def test_a_proof_waits_for_the_download_of_another_unless_its_files_are_there() -> None:
    busy = worker("cpu-1", copy("a", "downloading"), cached=["c"])
    models = [applied(name) for name in "abc"]

    decided = decide(world(models=models, pools=[pool()], workers=[busy]))

    assert loaded(decided) == ["a", "c"]
    assert decided.waiting["b"] == "waits to be proven: other models come first in pool cpu"


@pytest.mark.parametrize(("cached", "expected"), [([], ["z"]), (["z"], ["a", "z"])])
def test_a_proof_begins_no_download_beside_that_of_a_model_pictures_wait_for(
    cached: list[str], expected: list[str]
) -> None:
    seen = world(
        models=[applied("a"), model("z")],
        pools=[pool(hosting={"maxConcurrentLoads": 2})],
        workers=[worker("cpu-1", cached=cached)],
        demand={"z": 1},
    )

    assert loaded(decide(seen, Memory(waiting_since={"a": START - 120}))) == expected


def test_a_proof_on_its_way_gives_up_its_memory_to_waiting_pictures() -> None:
    small: dict[str, Any] = {"requirements": {"memory": "2G"}}
    seen = world(
        models=[applied("a", **small), model("z", **small)],
        pools=[pool(hosting={"maxConcurrentLoads": 2})],
        workers=[worker("cpu-1", copy("a", "loading"), memory=3 * GB)],
        demand={"z": 1},
    )

    decided = decide(seen)

    assert loaded(decided) == []
    assert decided.waiting["z"] == "waiting for a to unload before it loads on cpu-1"


@pytest.mark.parametrize(
    ("holder", "facts", "demand", "stays"),
    [
        (model("b"), {"idle_seconds": 30}, 0, False),
        (model("b"), {"idle_seconds": 30}, 1, True),
        (model("b"), {"state_seconds": 59}, 0, True),
        (model("b"), {"idle_seconds": 0}, 0, True),
        (model("b", residency={"minCopies": 1}), {"idle_seconds": 30}, 0, True),
        (pinned("b"), {"idle_seconds": 30}, 0, True),
    ],
    ids=["idle", "demanded", "young", "at work", "kept", "pinned"],
)
def test_a_proof_takes_the_place_of_idle_copies_alone(
    holder: ModelSeen, facts: dict[str, Any], demand: int, stays: bool
) -> None:
    held = worker("cpu-1", copy("b", memory_bytes=3 * GB, **facts), memory=4 * GB)
    seen = world(
        models=[applied("a", requirements={"memory": "2G"}), holder],
        pools=[pool()],
        workers=[held],
        demand={"b": demand} if demand else {},
    )

    assert (loaded(decide(seen)) == ["b"]) is stays


def test_a_pool_at_zero_gets_a_worker_for_a_proof_and_says_so() -> None:
    memory = Memory(pools={"cpu": PoolMemory(0)})
    seen = world(models=[applied("a")], pools=[pool(autoscaling=FROM_ZERO)])

    decided, after = plan(seen, memory)

    assert decided.pools["cpu"].workers == 1
    assert decided.pools["cpu"].reason == "a is to be proven"
    assert decided.waiting["a"] == "waits to be proven: waiting for a worker in pool cpu"
    assert after.pools["cpu"].worked_at == START


def test_the_worker_stays_until_the_proof_is_through() -> None:
    proving = world(
        models=[applied("a")],
        pools=[pool(autoscaling=FROM_ZERO)],
        workers=[worker("cpu-1", copy("a", "loading"))],
    )
    proven = world(
        models=[applied("a")],
        pools=[pool(autoscaling={**FROM_ZERO, "scaleDown": {"stabilizationSeconds": 0}})],
        workers=[worker("cpu-1", copy("a"))],
        now=START + 61,
    )
    memory = Memory(pools={"cpu": PoolMemory(1, worked_at=0.0)})

    decided, after = plan(proving, memory)

    assert decided.pools["cpu"].workers == 1
    assert decide(proven, after).pools["cpu"].drain == ("cpu-1",)


def test_a_retriable_failure_is_left_to_the_workers_own_back_off() -> None:
    seen = world(
        models=[applied("a")], pools=[pool()], workers=[worker("cpu-1", broken(retriable=True))]
    )

    decided = decide(seen)

    assert loaded(decided) == ["a"]
    assert ready(decided.model_statuses["a"]) == ("False", "LoadFailed")


def test_a_failure_that_only_another_spec_heals_is_not_tried_again() -> None:
    seen = world(
        models=[applied("a")], pools=[pool()], workers=[worker("cpu-1", broken(retriable=False))]
    )
    after = world(models=[applied("a")], pools=[pool()], workers=[worker()], now=START + 10_000)
    changed = applied("a", generation={"numBeams": 3})
    healed = world(models=[changed], pools=[pool()], workers=[worker()], now=START + 10_000)

    decided, memory = plan(seen, Memory())
    later = decide(after, memory)

    assert loaded(decided) == loaded(later) == []
    assert later.waiting["a"] == (
        "failed on cpu-1: no such layer; tried again when its spec changes or pictures wait"
    )
    assert ready(later.model_statuses["a"]) == ("False", "UnsupportedModel")
    assert loaded(decide(healed, memory)) == ["a"]
    assert ready(decide(healed, memory).model_statuses["a"]) == ("False", "NotYetProven")


def test_pictures_have_a_failed_model_tried_again() -> None:
    memory = remembered(applied("a"), broken(retriable=False))
    wanted = world(models=[applied("a")], pools=[pool()], workers=[worker()], demand={"a": 1})

    assert loaded(decide(wanted, memory)) == ["a"]


def test_code_that_lies_with_the_worker_stays_so_that_saving_it_heals_it() -> None:
    coded = applied("a", custom={"entrypoint": "mine:Mine"}, source=None)
    failed = broken(retriable=False, reason="CodeError", fingerprint=coded.fingerprint)
    seen = world(
        models=[coded], pools=[pool()], workers=[worker("cpu-1", failed, classes=["mine:Mine"])]
    )

    decided, memory = plan(seen, Memory())

    assert loaded(decided) == loaded(decide(seen, memory)) == ["a"]


def test_a_failed_proof_neither_brings_nor_keeps_a_worker() -> None:
    memory = remembered(applied("a"), broken(retriable=True))
    pools = [pool(autoscaling={**FROM_ZERO, "scaleDown": {"stabilizationSeconds": 0}})]
    idle = Memory(**{**vars(memory), "pools": {"cpu": PoolMemory(1, worked_at=0.0)}})
    there = world(
        models=[applied("a")], pools=pools, workers=[worker("cpu-1", broken(retriable=True))]
    )
    nobody = world(models=[applied("a")], pools=pools, now=START + 10_000)
    at_zero = Memory(**{**vars(memory), "pools": {"cpu": PoolMemory(0)}})

    assert decide(there, idle).pools["cpu"].drain == ("cpu-1",)
    assert decide(nobody, at_zero).pools["cpu"].workers == 0
    assert decide(nobody, at_zero).waiting["a"] == (
        "failed on cpu-1: no such layer; tried again when its pool has a worker or pictures wait"
    )


def test_a_failed_proof_is_tried_on_a_new_worker_not_before_its_time() -> None:
    memory = remembered(applied("a"), broken(retriable=True, retry_in_seconds=60.0))

    def at(seconds: float) -> list[str]:
        fresh = world(
            models=[applied("a")],
            pools=[pool()],
            workers=[worker("cpu-2")],
            now=START + seconds,
        )
        return loaded(decide(fresh, memory), "cpu-2")

    assert at(59) == []
    assert at(61) == ["a"]


def test_a_proof_without_a_place_brings_another_worker_only_after_a_while() -> None:
    full = worker("cpu-1", copy("b", memory_bytes=3 * GB), memory=4 * GB)
    models = [applied("a", requirements={"memory": "2G"}), pinned("b")]

    def workers(waited: float) -> int:
        seen = world(models=models, pools=[pool()], workers=[full])
        memory = Memory(waiting_since={"a": START - waited}, pools={"cpu": PoolMemory(1)})
        return decide(seen, memory).pools["cpu"].workers

    assert workers(119) == 1
    assert workers(120) == 2


def test_what_no_worker_of_the_kind_could_hold_brings_none() -> None:
    large = applied("a", requirements={"memory": "90G"})
    seen = world(models=[large], pools=[pool()], workers=[worker()], demand={"a": 1})

    assert decide(seen).pools["cpu"].workers == 1


def test_a_proof_waits_for_a_pool_that_can_bring_a_worker() -> None:
    off = pool("a-pool", autoscaling={"mode": "Off"}, replicas=0)
    seen = world(models=[applied("a")], pools=[off, pool("cpu", autoscaling=FROM_ZERO)])

    assert decide(seen).pools["cpu"].workers == 1


def test_a_model_whose_pool_was_set_to_zero_says_so() -> None:
    off = pool(autoscaling={"mode": "Off"}, replicas=0)
    seen = world(models=[applied("a")], pools=[off])

    assert decide(seen).waiting["a"] == (
        "waits to be proven: spec.replicas of pool cpu is 0: set it to 1 or more"
    )


def test_a_proof_whose_worker_is_starting_says_so() -> None:
    starting = pool(own=[OwnWorker("cpu-1", age_seconds=3.2)])

    assert decide(world(models=[applied("a")], pools=[starting])).waiting["a"] == (
        "waits to be proven: starting a worker in pool cpu (3 s)"
    )


def test_a_pinned_model_needs_no_proof_of_its_own() -> None:
    seen = world(models=[pinned("a", acceptance={"prove": "OnApply"})], pools=[pool()])

    assert decide(seen).waiting["a"] == "waiting for a worker in pool cpu"


def test_a_suspended_model_is_not_proven() -> None:
    seen = world(models=[applied("a", suspend=True)], pools=[pool()], workers=[worker()])

    assert loaded(decide(seen)) == []
