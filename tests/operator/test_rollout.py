"""A changed spec reaches the copies that serve: beside them, or in their place."""

from dataclasses import replace
from typing import Any

from tests.operator.fleets import GB, copy, decide, loaded, model, pool, worker, world

from captionfleet.messages import Change, Copy
from captionfleet.resources.model_status import Condition
from captionfleet_operator.planner import Memory, ModelSeen, Plan, WorkerSeen, World, plan
from captionfleet_operator.planner.facts import timestamp


def old(name: str = "a", *, beside: Copy | None = None, **facts: Any) -> Copy:
    """A copy of an earlier spec that serves."""
    facts = {"memory_bytes": GB, "revision": "r1", "consuming": True, **facts}
    return copy(name, fingerprint="earlier", beside=beside, **facts)


def fleet(*workers: WorkerSeen, of: ModelSeen | None = None, **facts: Any) -> World:
    return world(models=[of or model("a")], pools=[pool()], workers=workers, **facts)


def change(decided: Plan, of: str = "cpu-1") -> Change:
    return decided.changes[of, "a"]


def condition(decided: Plan, type_: str) -> Condition:
    return next(each for each in decided.model_statuses["a"].conditions if each.type == type_)


def test_the_new_copy_is_loaded_beside_the_old_one_where_memory_allows() -> None:
    decided = decide(fleet(worker("cpu-1", old())))
    assert change(decided) == Change.BESIDE
    assert loaded(decided) == ["a"]
    status = decided.model_statuses["a"]
    assert status.phase == "Updating"
    assert status.message == (
        "ready on cpu-1, with the spec before the last change; the changed one is about to load"
    )


def test_without_room_for_two_copies_the_old_one_goes_first_and_the_reason_is_told() -> None:
    decided = decide(fleet(worker("cpu-1", old(memory_bytes=5 * GB))))
    assert change(decided) == Change.REPLACE
    status = decided.model_statuses["a"]
    why = (
        "no room for two copies on cpu-1: another one needs 5.0 GB, 1.8 GB is free; "
        "the old copy is unloaded first"
    )
    assert status.message.endswith(why)
    assert (status.phase, status.rollout and status.rollout.message) == ("Updating", why)


def test_the_reason_of_a_gap_stays_until_the_new_copy_is_ready() -> None:
    seen = fleet(worker("cpu-1", old(memory_bytes=5 * GB)))
    _, memory = plan(seen, Memory())
    loading = replace(seen, workers={"cpu-1": worker("cpu-1", copy("a", "loading"))})
    decided, memory = plan(loading, memory)
    assert decided.model_statuses["a"].phase == "Updating"
    assert "no room for two copies on cpu-1" in decided.model_statuses["a"].message
    ready = replace(seen, workers={"cpu-1": worker("cpu-1", copy("a"))})
    decided, _ = plan(ready, memory)
    assert (decided.model_statuses["a"].phase, decided.model_statuses["a"].rollout) == (
        "Ready",
        None,
    )


def test_idle_copies_that_nobody_wants_make_room_for_a_second_copy() -> None:
    here = worker("cpu-1", old(memory_bytes=3 * GB), copy("b", memory_bytes=2 * GB))
    seen = world(models=[model("a"), model("b")], pools=[pool()], workers=[here])
    decided = decide(seen)
    assert change(decided) == Change.HOLD
    assert loaded(decided) == ["a"]
    wanted = replace(seen, demand=world(demand={"b": 1}).demand)
    assert change(decide(wanted)) == Change.REPLACE
    assert loaded(decide(wanted)) == ["a", "b"]


def test_recreate_unloads_first_though_there_is_room() -> None:
    recreate = model("a", rollout={"strategy": "Recreate"})
    assert change(decide(fleet(worker("cpu-1", old()), of=recreate))) == Change.REPLACE


def test_one_worker_goes_first_until_the_change_is_proven_there() -> None:
    both = [worker("cpu-1", old()), worker("cpu-2", old())]
    decided = decide(fleet(*both, demand={"a": 999}))
    assert [change(decided, each.id) for each in both] == [Change.BESIDE, Change.HOLD]
    failed = old(beside=copy("a", "failed", reason="LoadFailed", retry_in_seconds=9))
    tried = [worker("cpu-1", failed), worker("cpu-2", old())]
    decided = decide(fleet(*tried, demand={"a": 999}))
    assert [change(decided, each.id) for each in both] == [Change.BESIDE, Change.HOLD]
    proven = Memory(proven={"a": model("a").fingerprint})
    decided = decide(fleet(*both, demand={"a": 999}), proven)
    assert [change(decided, each.id) for each in both] == [Change.BESIDE, Change.BESIDE]


def test_without_room_one_worker_at_a_time_stops_serving() -> None:
    proven = Memory(
        proven={"a": model("a").fingerprint},
        loaded={id_: frozenset("a") for id_ in ("cpu-1", "cpu-2")},
    )
    loading = worker("cpu-1", copy("a", "loading"))
    serving = worker("cpu-2", old(memory_bytes=5 * GB))
    decided = decide(fleet(loading, serving, demand={"a": 999}), proven)
    assert change(decided, "cpu-2") == Change.HOLD


def test_a_rollout_waits_for_its_turn_to_load() -> None:
    here = worker("cpu-1", old(), copy("b", "loading"))
    seen = world(models=[model("a"), model("b")], pools=[pool()], workers=[here], demand={"b": 1})
    assert change(decide(seen)) == Change.HOLD


def test_a_change_that_cannot_be_loaded_leaves_the_old_copy_serving_and_says_why() -> None:
    failed = copy("a", "failed", reason="LoadFailed", message="no such layer", retry_in_seconds=9)
    decided = decide(fleet(worker("cpu-1", old(beside=failed))))
    assert loaded(decided) == ["a"]
    status = decided.model_statuses["a"]
    assert (status.phase, status.copies.loaded, status.copies.failed) == ("Degraded", 1, 1)
    assert "the changed one is failed on cpu-1: no such layer" in status.message
    assert condition(decided, "Degraded").reason == "LoadFailed"
    assert status.last_failure
    assert status.last_failure.message == "no such layer"


def test_after_the_deadline_progress_is_over_and_the_old_copy_still_serves() -> None:
    slow = model("a", rollout={"progressDeadlineSeconds": 60})
    loading = old(beside=copy("a", "loading"))
    seen = fleet(worker("cpu-1", loading), of=slow)
    decided, memory = plan(seen, Memory())
    assert condition(decided, "Progressing").status == "True"
    decided, _ = plan(replace(seen, now=seen.now + 60), memory)
    progressing = condition(decided, "Progressing")
    assert (progressing.status, progressing.reason) == ("False", "ProgressDeadlineExceeded")
    assert condition(decided, "Loaded").status == "True"


def test_a_restarted_operator_counts_on_from_when_the_change_began() -> None:
    slow = model("a", rollout={"progressDeadlineSeconds": 60})
    seen = fleet(worker("cpu-1", old(beside=copy("a", "loading"))), of=slow)
    decided, _ = plan(seen, Memory())
    status = decided.model_statuses["a"]
    manifest = slow.manifest.model_copy(update={"status": status})
    later = replace(seen, now=seen.now + 61, models={"a": replace(slow, manifest=manifest)})
    decided, _ = plan(later, Memory())
    assert condition(decided, "Progressing").reason == "ProgressDeadlineExceeded"
    assert status.rollout
    assert status.rollout.since == timestamp(seen.now)


def test_both_copies_of_a_worker_count_in_its_memory() -> None:
    loading = old(memory_bytes=3 * GB, beside=copy("a", "loading"))
    seen = world(
        models=[model("a"), model("b", requirements={"memory": "1G"})], pools=[pool()],
        workers=[worker("cpu-1", loading)], demand={"a": 1, "b": 1},
    )  # fmt: skip
    assert loaded(decide(seen)) == ["a"], "6 of 6.8 GB are taken"
