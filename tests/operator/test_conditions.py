"""Each condition of a model or a pool holds, or not, for a reason that a person understands."""

from typing import Any

import pytest
from tests.operator.fleets import START, copy, decide, model, pool, worker, world

from captionfleet.messages import Copy
from captionfleet.resources import ModelPhase, ModelStatus, PoolStatus
from captionfleet.resources.model_status import Condition
from captionfleet_operator.planner import Memory, ModelSeen, OwnWorker, PoolSeen, plan

NO_NODE = "0/1 nodes have nvidia.com/gpu free for pod capw-gpu-1"


def judged(of: ModelStatus | PoolStatus, type_: str) -> Condition:
    return next(each for each in of.conditions if each.type == type_)


def verdict(of: ModelStatus | PoolStatus, type_: str) -> tuple[str, str]:
    found = judged(of, type_)
    return found.status, found.reason


def status(
    *copies: Copy, seen: ModelSeen | None = None, total: int = 0, memory: Memory | None = None
) -> ModelStatus:
    one = world(
        models=[seen or model("a")],
        pools=[pool()],
        workers=[worker("cpu-1", *copies)],
        demand={"a": total} if total else {},
    )
    return decide(one, memory).model_statuses["a"]


def after(*copies: Copy, seen: ModelSeen | None = None) -> Memory:
    one = world(models=[seen or model("a")], pools=[pool()], workers=[worker("cpu-1", *copies)])
    return plan(one, Memory())[1]


def deleted(seen: Any) -> Any:
    metadata = seen.manifest.metadata.model_copy(update={"deletion_timestamp": "2027-01-15"})
    manifest = seen.manifest.model_copy(update={"metadata": metadata})
    return (
        ModelSeen(manifest, seen.fingerprint)
        if isinstance(seen, ModelSeen)
        else PoolSeen(manifest, seen.own)
    )


@pytest.mark.parametrize("reason", ["SourceNotFound", "GatedRepo"])
def test_a_source_that_cannot_be_had_is_not_accepted(reason: str) -> None:
    failed = copy("a", "failed", reason=reason, message="no such repository", retriable=False)

    found = status(failed, total=1)

    assert verdict(found, "Accepted") == verdict(found, "Ready") == ("False", reason)
    assert judged(found, "Accepted").message == "no such repository"


def test_trouble_that_may_pass_leaves_a_model_accepted() -> None:
    failed = copy("a", "failed", reason="HubUnreachable", message="no route", retriable=True)

    found = status(failed, total=1)

    assert verdict(found, "Accepted") == ("True", "Accepted")
    assert verdict(found, "Ready") == ("False", "HubUnreachable")


def test_the_failure_of_an_earlier_spec_is_no_news() -> None:
    memory = after(copy("a", "failed", reason="GatedRepo", message="gated", retriable=False))
    changed = model("a", source={"huggingFace": {"repo": "open/a"}})

    found = status(seen=changed, memory=memory)

    assert found.last_failure is None
    assert verdict(found, "Accepted") == ("True", "Accepted")


@pytest.mark.parametrize(
    ("copies", "prove", "reason"),
    [
        ([copy("a", "downloading")], "OnFirstUse", "Downloading"),
        ([copy("a", "loading")], "OnFirstUse", "Loading"),
        ([copy("a", "loading")], "OnApply", "Proving"),
        ([], "OnApply", "Proving"),
    ],
)
def test_what_is_on_its_way_is_progressing(copies: list[Copy], prove: str, reason: str) -> None:
    found = status(*copies, seen=model("a", acceptance={"prove": prove}))

    assert verdict(found, "Progressing") == ("True", reason)


def test_a_changed_spec_is_progressing_until_it_answers() -> None:
    old = copy("a", fingerprint="old", revision="one")
    memory = after(copy("a", revision="one"))
    changed = model("a", generation={"numBeams": 3})

    updating = status(old, seen=changed, memory=memory)
    settled = status(copy("a"))

    assert updating.phase == "Updating"
    assert verdict(updating, "Progressing") == ("True", "LoadingNewRevision")
    assert verdict(updating, "Ready") == ("False", "NotYetProven")
    assert verdict(settled, "Progressing") == ("False", "Settled")


def test_a_failure_ends_the_progress() -> None:
    failed = copy("a", "failed", reason="CodeError", message="line 3")

    assert verdict(status(failed, total=1), "Progressing") == ("False", "CodeError")


def test_a_failure_beside_a_copy_that_serves_degrades_the_model() -> None:
    failed = worker("cpu-2", copy("a", "failed", reason="CodeError", message="line 3"))
    seen = world(
        models=[model("a")], pools=[pool()], workers=[worker("cpu-1", copy("a")), failed],
        demand={"a": 1},
    )  # fmt: skip

    found = decide(seen).model_statuses["a"]

    assert found.phase == "Degraded"
    assert verdict(found, "Degraded") == ("True", "CodeError")
    assert verdict(found, "Ready") == ("True", "Loaded")
    assert found.last_failure and found.last_failure.message == "line 3"


def test_fewer_copies_than_wanted_because_of_a_failure_is_degraded() -> None:
    failed = copy("a", "failed", reason="CodeError", message="line 3")

    assert verdict(status(failed, total=1), "Degraded") == ("True", "CodeError")
    assert verdict(status(copy("a"), total=1), "Degraded") == ("False", "AsWanted")


def test_a_failed_model_that_nobody_wants_is_not_degraded() -> None:
    memory = after(copy("a", "failed", reason="CodeError", message="line 3"))

    assert verdict(status(memory=memory), "Degraded") == ("False", "AsWanted")


def test_a_model_that_is_being_deleted_is_unloaded_and_says_so() -> None:
    seen = world(models=[deleted(model("a"))], pools=[pool()], workers=[worker("cpu-1", copy("a"))])

    decided = decide(seen)

    assert decided.model_statuses["a"].phase == ModelPhase.TERMINATING
    assert verdict(decided.model_statuses["a"], "Ready") == ("False", "Terminating")
    assert decided.waiting["a"] == "it is being deleted"
    assert "loaded" not in decided.assignments["cpu-1"].values()


def test_a_pool_that_is_being_deleted_takes_nothing_new() -> None:
    going = deleted(pool(own=[OwnWorker("cpu-1", 99.0)]))
    seen = world(models=[model("a")], pools=[going], workers=[worker()], demand={"a": 1})

    decided = decide(seen)

    assert decided.pools["cpu"].workers == 0
    assert decided.waiting["a"] == "no pool takes this model: cpu is being deleted"
    assert verdict(decided.pool_statuses["cpu"], "Ready") == ("False", "Terminating")


def test_the_target_is_the_revision_of_the_present_spec_once_it_is_known() -> None:
    first = status(copy("a", revision="one"))
    memory = after(copy("a", revision="one"))
    changed = model("a", generation={"numBeams": 3})
    old = copy("a", fingerprint="old", revision="one")
    new = copy("a", fingerprint=changed.fingerprint, revision="two")

    def revision(*copies: Copy) -> tuple[str | None, str | None]:
        found = status(*copies, seen=changed, memory=memory).revision
        return found.active, found.target

    assert (first.revision.active, first.revision.target) == ("one", "one")
    assert revision(old) == ("one", None)
    assert revision(new) == ("two", "two")


def test_the_target_stays_known_on_standby() -> None:
    found = status(memory=after(copy("a", revision="one")))

    assert (found.revision.active, found.revision.target) == ("one", "one")


def unschedulable(demand: int = 1, memory: Memory | None = None) -> tuple[ModelStatus, PoolStatus]:
    starting = pool(
        trouble=NO_NODE, reason="Unschedulable", own=[OwnWorker("cpu-1", age_seconds=3)]
    )
    decided = decide(world(models=[model("a")], pools=[starting], demand={"a": demand}), memory)
    return decided.model_statuses["a"], decided.pool_statuses["cpu"]


def test_what_keeps_a_pool_from_starting_is_told_by_the_models_that_wait_for_it() -> None:
    found, of_pool = unschedulable()

    assert verdict(found, "Scheduled") == verdict(found, "Ready") == ("False", "Unschedulable")
    assert verdict(of_pool, "Ready") == ("False", "Unschedulable")
    assert judged(found, "Scheduled").message == found.message == NO_NODE
    assert of_pool.message == f"0 workers; 1 starting; {NO_NODE}"


def test_a_proven_model_is_not_ready_while_its_pool_cannot_start_workers() -> None:
    assert verdict(unschedulable(memory=after(copy("a")))[0], "Ready") == ("False", "Unschedulable")


def test_trouble_of_a_pool_that_has_its_workers_leaves_it_ready() -> None:
    seen = world(
        models=[model("a")],
        pools=[pool(trouble="one of two new pods crashes", reason="CrashLoop")],
        workers=[worker()],
    )

    assert verdict(decide(seen).pool_statuses["cpu"], "Ready") == ("True", "WorkersReady")


def test_a_pool_says_what_limits_it_and_that_it_is_suspended() -> None:
    hungry = world(
        models=[model("a")],
        pools=[pool(autoscaling={"maxReplicas": 1})],
        workers=[worker("cpu-1", copy("a", rates={1: 1.0}))],
        demand={"a": 90},
    )
    asleep = world(pools=[pool(suspend=True)])

    limited = decide(hungry).pool_statuses["cpu"]
    suspended = decide(asleep).pool_statuses["cpu"]

    assert verdict(limited, "ScalingLimited") == ("True", "TooFewReplicasAllowed")
    assert "maxReplicas is 1" in judged(limited, "ScalingLimited").message
    assert verdict(limited, "Suspended") == ("False", "NotSuspended")
    assert verdict(suspended, "ScalingLimited") == ("False", "WithinLimits")
    assert verdict(suspended, "Suspended") == ("True", "Suspended")
    assert verdict(suspended, "Ready") == ("False", "Suspended")


def test_a_queue_that_cannot_be_declared_makes_a_model_not_ready() -> None:
    seen = ModelSeen(model("a").manifest, model("a").fingerprint, queue_trouble="refused")

    found = status(copy("a"), seen=seen)

    assert verdict(found, "QueueReady") == verdict(found, "Ready") == ("False", "NotDeclared")


def test_a_count_down_is_told_to_those_who_wait_and_not_written() -> None:
    failed = copy("a", "failed", reason="CodeError", message="line 3", retry_in_seconds=50.0)
    seen = world(
        models=[model("a")], pools=[pool()], workers=[worker("cpu-1", failed)], demand={"a": 1}
    )

    decided = decide(seen)

    assert decided.waiting["a"] == "failed on cpu-1: line 3; tried again in 50 s"
    assert decided.model_statuses["a"].message == "failed on cpu-1: line 3"
    failure = decided.model_statuses["a"].last_failure
    assert failure and failure.next_retry_time == "2027-01-15T08:00:50+00:00"
    assert START == 1_800_000_000
