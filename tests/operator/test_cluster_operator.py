"""The operator on a real API server: what it makes, keeps, repairs, and leaves alone."""

import functools
import signal

import pytest
from tests.conftest import eventually as eventually_within
from tests.operator.cluster_stage import Stage

eventually = functools.partial(eventually_within, seconds=90)
"""Two processors are shared by an API server, a broker, an operator and its workers."""


async def test_a_pool_becomes_a_deployment_and_all_that_belongs_to_it(stage: Stage) -> None:
    stage.pool(autoscaling={"minReplicas": 2}, cache={"type": "PVC", "sizeLimit": "1Gi"})
    stage.start()

    await eventually(
        lambda: stage.children().keys() == {
            "Deployment/capw-cpu", "Service/capw-cpu", "ServiceAccount/capw-cpu",
            "PodDisruptionBudget/capw-cpu", "NetworkPolicy/capw-cpu",
            "PersistentVolumeClaim/capw-cpu-cache",
        }
    )  # fmt: skip
    assert stage.replicas() == 2
    await eventually(lambda: len(stage.pods()) == 2)  # admitted although the namespace is strict


async def test_a_model_is_loaded_on_demand_and_kubectl_tells_so(stage: Stage) -> None:
    stage.model("a")
    stage.pool()
    stage.start()
    await eventually(stage.staff)
    await eventually(lambda: stage.condition("capm", "a", "Ready") == ("False", "NotYetProven"))

    stage.wanted = {"a": 1}

    await eventually(lambda: stage.condition("capm", "a", "Ready") == ("True", "Loaded"))
    row = stage.kubectl("get", "capm", "a", "--no-headers").split()
    assert row[:3] == ["a", "True", "Ready"]
    assert "ready on capw-cpu-" in stage.kubectl("describe", "capm", "a")


async def test_a_new_model_is_proven_from_zero_workers(stage: Stage) -> None:
    stage.pool(autoscaling={"minReplicas": 0, "scaleToZeroAfterSeconds": 1})
    stage.model("a", acceptance={"prove": "OnApply"})
    stage.start()

    await eventually(lambda: stage.replicas() == 1)
    await eventually(stage.staff)

    await eventually(lambda: stage.condition("capm", "a", "Ready") == ("True", "Loaded"))


async def test_a_changed_pool_changes_its_children(stage: Stage) -> None:
    stage.pool()
    stage.start()
    await eventually(lambda: stage.replicas() == 1)

    stage.pool(
        autoscaling={"mode": "Off"}, replicas=3, env={"MINE": "1"},
        networkPolicy={"enabled": False},
    )  # fmt: skip

    await eventually(lambda: stage.replicas() == 3)
    await eventually(lambda: "NetworkPolicy/capw-cpu" not in stage.children())
    assert '"MINE"' in stage.kubectl("get", "deployment", "capw-cpu", "-o", "json")


async def test_a_deleted_pool_takes_everything_with_it(stage: Stage) -> None:
    stage.pool(cache={"type": "PVC", "sizeLimit": "1Gi"})
    stage.start()
    await eventually(lambda: stage.replicas() == 1)

    stage.kubectl("delete", "capw", "cpu", "--timeout=20s")

    # The claim waits for its protection to be lifted, which the pods' end brings.
    await eventually(lambda: not stage.children().keys() - {"PersistentVolumeClaim/capw-cpu-cache"})
    await eventually(lambda: not stage.pods())


@pytest.mark.parametrize(
    "kind", ["deployment", "service", "serviceaccount", "pdb", "networkpolicy"]
)
async def test_a_deleted_child_is_made_again(stage: Stage, kind: str) -> None:
    stage.pool()
    stage.start()
    await eventually(lambda: len(stage.children()) == 5)
    before = stage.children()

    stage.kubectl("delete", kind, "capw-cpu", "--wait=false")

    await eventually(lambda: stage.children() == before)


async def test_a_changed_child_is_brought_back_and_foreign_fields_stay(stage: Stage) -> None:
    stage.pool()
    stage.start()
    await eventually(lambda: stage.replicas() == 1)

    stage.kubectl("label", "deployment", "capw-cpu", "team=vision")
    stage.kubectl("scale", "deployment", "capw-cpu", "--replicas=7")
    stage.kubectl("set", "image", "deployment/capw-cpu", "worker=evil:1")

    await eventually(lambda: stage.replicas() == 1)
    await eventually(lambda: "evil" not in stage.kubectl("get", "deployment", "-o", "yaml"))
    assert stage.children()["Deployment/capw-cpu"]["labels"]["team"] == "vision"


async def test_at_rest_and_after_a_restart_nothing_is_written(stage: Stage) -> None:
    stage.model("a")
    stage.pool(resources={"limits": {"cpu": "1000m", "memory": "2048Mi"}})
    stage.start()
    await eventually(stage.staff)
    await eventually(lambda: stage.status("capw", "cpu").get("summary") == "1/1")
    settled = await stage_at_rest(stage)

    assert stage.end() == 0
    stage.start()
    await turns(stage, 8)

    assert stage.writes() == settled


async def test_three_periods_of_silence_after_a_restart_change_nothing(stage: Stage) -> None:
    stage.model("a")
    stage.pool(autoscaling={"minReplicas": 0, "scaleToZeroAfterSeconds": 1})
    stage.start()
    stage.wanted = {"a": 5}
    await eventually(lambda: stage.replicas() == 1)
    await eventually(stage.staff)
    await eventually(lambda: stage.condition("capm", "a", "Ready") == ("True", "Loaded"))
    stage.operators[-1].kill()
    stage.operators[-1].wait()
    before = len(stage.writes())

    stage.retire(next(iter(stage.workers)))
    stage.wanted = {}
    stage.start(CAPTIONFLEET_LISTENING_SECONDS="6")
    await turns(stage, 2)

    assert len(stage.writes()) == before
    assert stage.replicas() == 1


async def test_changes_made_while_no_operator_ran_are_honored(stage: Stage) -> None:
    for name in ("kept", "changed", "gone"):
        stage.pool(name)
    stage.model("a")
    stage.start()
    await eventually(lambda: [stage.replicas(n) for n in ("kept", "changed", "gone")] == [1, 1, 1])
    assert stage.end() == 0

    stage.pool("changed", autoscaling={"minReplicas": 2})
    stage.pool("new")
    stage.kubectl("delete", "capw", "gone")
    stage.kubectl("delete", "networkpolicy", "capw-kept")
    stage.start()

    await eventually(lambda: [stage.replicas(n) for n in ("kept", "changed", "new")] == [1, 2, 1])
    await eventually(lambda: "NetworkPolicy/capw-kept" in stage.children())
    await eventually(lambda: stage.replicas("gone") is None)


async def test_kubectl_scale_sizes_an_external_pool(stage: Stage) -> None:
    stage.pool(autoscaling={"mode": "External"}, replicas=0)
    stage.start()
    await eventually(lambda: stage.replicas() == 0)

    stage.kubectl("scale", "capw", "cpu", "--replicas=2")

    await eventually(lambda: stage.replicas() == 2)
    await eventually(lambda: len(stage.pods()) == 2)
    await eventually(lambda: stage.status("capw", "cpu").get("selector"))
    (last, *_) = await eventually(lambda: stage.status("capw", "cpu").get("scalingHistory"))
    assert (last["to"], "external autoscaler" in last["reason"]) == (2, True)


async def test_the_worker_with_the_least_to_lose_leaves(stage: Stage) -> None:
    stage.model("a", residency={"policy": "Pinned", "minCopies": 1})
    stage.pool(autoscaling={"mode": "Off"}, replicas=3)
    stage.start()
    await eventually(lambda: len(stage.staff()) == 3)
    await eventually(lambda: stage.condition("capm", "a", "Ready") == ("True", "Loaded"))
    (keeper,) = await eventually(lambda: [w for w in stage.pods() if stage.ear.ready_on(w)])

    stage.kubectl("scale", "capw", "cpu", "--replicas=1")

    await eventually(lambda: stage.pods() == [keeper])


async def test_a_gpu_pool_without_a_gpu_says_so(stage: Stage) -> None:
    add_node(stage)
    stage.pool("gpu", device={"type": "GPU"})
    stage.start()

    def said() -> str:
        return str(stage.status("capw", "gpu").get("message", ""))

    await eventually(lambda: "0/1 nodes have nvidia.com/gpu" in said())
    assert stage.condition("capw", "gpu", "Ready") == ("False", "Unschedulable")


async def test_a_spec_that_the_cluster_refuses_says_why(stage: Stage) -> None:
    stage.pool(scheduling={"tolerations": [{"operator": "Sideways"}]})
    stage.start()

    def said() -> str:
        return str(stage.status("capw", "cpu").get("message", ""))

    await eventually(lambda: "Sideways" in said() or "operator" in said())
    assert stage.condition("capw", "cpu", "Ready")[1] == "Refused"


async def test_transitions_are_told_as_events(stage: Stage) -> None:
    stage.model("a")
    stage.pool()
    stage.start()
    stage.wanted = {"a": 1}
    await eventually(stage.staff)

    def reasons() -> set[str]:
        found = stage.cluster.get("events.events.k8s.io", "-n", stage.namespace)["items"]
        ours = [
            e for e in found if e["reportingController"] == "captionfleet.io/captionfleet-operator"
        ]
        return {e["reason"] for e in ours}

    await eventually(lambda: {"Ready", "Scaled"} <= reasons(), what="events")


async def test_a_second_operator_stands_by_and_takes_over(stage: Stage) -> None:
    stage.pool()
    stage.start()
    await eventually(lambda: stage.replicas() == 1)

    stage.start(CAPTIONFLEET_IDENTITY="second")
    await eventually(lambda: "standing by" in stage.log())
    assert stage.door("/readyz") == "standing by: first holds the lease\n"
    stage.operators[0].send_signal(signal.SIGTERM)

    await eventually(lambda: stage.door("/readyz") == "at work\n")


async def test_the_backlog_is_a_metric_that_an_autoscaler_can_use(stage: Stage) -> None:
    stage.model("a")
    stage.pool(autoscaling={"mode": "External"}, replicas=0)
    stage.start()
    stage.wanted = {"a": 50}

    await eventually(lambda: stage.metric("captionfleet_pool_backlog_seconds") > 0)


async def stage_at_rest(stage: Stage) -> list[object]:
    """Wait until several turns in a row wrote nothing; returns all writes so far."""
    while True:
        before = stage.writes()
        await turns(stage, 8)
        if stage.writes() == before:
            return list(before)


async def turns(stage: Stage, number: int) -> None:
    """Wait until the last operator took so many more turns."""
    first = await eventually(lambda: stage.metric("captionfleet_operator_turns_total"))
    await eventually(lambda: stage.metric("captionfleet_operator_turns_total") >= first + number)


def add_node(stage: Stage) -> None:
    """A node on paper: it takes pods, and never runs one."""
    size = {"cpu": "8", "memory": "16Gi", "pods": "110"}
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "paper"},
        "status": {
            "capacity": size,
            "allocatable": size,
            "conditions": [{"type": "Ready", "status": "True", "reason": "On", "message": "on"}],
        },
    }
    stage.cluster.apply(node)
