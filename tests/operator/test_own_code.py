"""A model whose code lies with the workers goes to those that have it, and else says what to do."""

from dataclasses import replace
from typing import Any

from tests.operator.fleets import copy, decide, loaded, model, pool, worker, world

from captionfleet_operator.planner import Memory, ModelSeen, Plan, PoolSeen, WorkerSeen, plan

CODE: dict[str, Any] = {"custom": {"entrypoint": "mine:Mine"}, "source": None}
BROUGHT = {"entrypoint": "mine:Mine", "files": [{"path": "mine.py", "content": "x"}]}
HELPED = {"entrypoint": "mine:Mine", "files": [{"path": "helper.py", "content": "x"}]}


def decided(
    *workers: WorkerSeen, of: ModelSeen | None = None, pools: PoolSeen | None = None
) -> Plan:
    """What is planned for a demanded model."""
    seen = world(
        models=[of or model("a", **CODE)], pools=[pools or pool()], workers=workers,
        demand={"a": 3},
    )  # fmt: skip
    return decide(seen)


def test_it_goes_to_the_worker_that_has_the_class() -> None:
    without, with_it = (
        worker("cpu-1", classes=["other:Class"]),
        worker("cpu-2", classes=["mine:Mine"]),
    )
    planned = decided(without, with_it)
    assert loaded(planned, "cpu-1") == [] and loaded(planned, "cpu-2") == ["a"]


def test_no_worker_with_the_class_is_told_with_what_to_do() -> None:
    planned = decided(worker("cpu-1"), worker("cpu-2", classes=["mine:Other"]))
    told = planned.waiting["a"]
    assert told.startswith("no worker has the class mine:Mine (cpu-1, cpu-2): save it as mine.py")
    assert "custom_infer" in told and "upload" in told
    conditions = {each.type: each for each in planned.model_statuses["a"].conditions}
    for type_ in ("Scheduled", "Ready"):
        assert (conditions[type_].status, conditions[type_].reason) == ("False", "CodeMissing")


def test_a_file_that_is_no_python_is_loaded_all_the_same_so_that_its_line_is_told() -> None:
    assert loaded(decided(worker(classes=["mine:*"]))) == ["a"]


def idle(*workers: WorkerSeen) -> Plan:
    """What is planned for a model that was ready once and that nobody asks now."""
    seen = model("a", acceptance={"prove": "OnApply"}, **CODE)
    there = world(models=[seen], pools=[pool()], workers=workers)
    return plan(there, Memory(proven={"a": seen.fingerprint}))[0]


def test_a_broken_file_of_an_idle_model_is_told_before_pictures_come() -> None:
    planned = idle(worker(classes=["mine:*"]))
    sentence = "mine.py on cpu-1 is not valid Python: expected ':' (line 2): correct it and save it"
    status = planned.model_statuses["a"]
    assert status.phase == "Failed" and planned.waiting["a"] == status.message == sentence
    ready = next(each for each in status.conditions if each.type == "Ready")
    assert (ready.status, ready.reason) == ("False", "CodeError")


def test_a_file_that_is_broken_elsewhere_troubles_no_model() -> None:
    for classes in (["other:*"], ["mine:Mine", "other:*"]):
        assert idle(worker(classes=classes)).model_statuses["a"].phase == "Standby"
    planned = idle(worker("cpu-1", classes=["mine:*"]), worker("cpu-2", classes=["mine:Mine"]))
    assert planned.model_statuses["a"].phase == "Standby"


def test_code_in_the_manifest_needs_nothing_of_a_worker() -> None:
    brought = model("a", custom=BROUGHT, source=None)
    assert loaded(decided(worker(), of=brought)) == ["a"]


def test_a_manifest_that_brings_helpers_alone_needs_the_class() -> None:
    helped = model("a", custom=HELPED, source=None)
    assert "no worker has the class" in decided(worker(), of=helped).waiting["a"]


def test_a_copy_leaves_a_worker_that_lost_the_class() -> None:
    there = copy("a", fingerprint=model("a", **CODE).fingerprint)
    assert loaded(decided(worker("cpu-1", there))) == []


def test_a_worker_is_brought_to_see_whether_it_has_the_class() -> None:
    planned = decided(pools=pool(autoscaling={"minReplicas": 0, "maxReplicas": 3}))
    assert planned.pools["cpu"].workers == 1


def test_a_proof_that_lacked_its_code_keeps_and_brings_no_worker() -> None:
    unproven = model("a", acceptance={"prove": "OnApply"}, **CODE)
    at_once = {"stabilizationSeconds": 0}
    from_zero = {"minReplicas": 0, "scaleToZeroAfterSeconds": 10, "scaleDown": at_once}
    idle = pool(autoscaling=from_zero)
    seen = world(models=[unproven], pools=[idle], workers=[worker("cpu-1")])
    first, memory = plan(seen, Memory())
    assert "no worker has the class" in first.waiting["a"]
    for seconds in (1000, 2000, 3000):
        gone = replace(seen, now=seen.now + seconds, workers={}, pools={"cpu": idle})
        later, memory = plan(gone, memory)
        assert later.pools["cpu"].workers == 0
        assert "no worker has the class" in later.waiting["a"]
