"""Why pods do not run, in sentences a person understands."""

import pytest
from tests.operator.clusters import seen_deployment, seen_pod, waiting_pod

from captionfleet_operator.cluster.troubles import last_line, pool_trouble
from captionfleet_operator.workers import Trouble


def unschedulable(message: str) -> dict[str, object]:
    condition = {"type": "PodScheduled", "reason": "Unschedulable", "message": message}
    return seen_pod(phase="Pending", conditions=[{"status": "False", **condition}])


def test_pods_that_run_are_no_trouble() -> None:
    assert pool_trouble(seen_deployment(), [seen_pod()], "") == Trouble()


def test_a_missing_gpu_is_named_with_the_number_of_nodes() -> None:
    trouble = pool_trouble(
        None,
        [unschedulable("0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1")],
        "",
    )

    assert trouble.reason == "Unschedulable"
    assert trouble.sentence.startswith("0/1 nodes have nvidia.com/gpu free for pod capw-cpu-1")


def test_another_reason_of_the_scheduler_is_passed_on() -> None:
    said = "0/3 nodes are available: 3 node(s) had untolerated taint {gpu: yes}."

    assert said in pool_trouble(None, [unschedulable(said)], "").sentence


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"])
def test_an_image_that_cannot_be_pulled_is_named(reason: str) -> None:
    trouble = pool_trouble(None, [waiting_pod(reason, "not found")], "")

    assert trouble.reason == "ImagePull"
    assert "captionfleet/worker:1 cannot be pulled" in trouble.sentence
    assert trouble.sentence.endswith("not found")


def test_a_crash_loop_tells_the_last_words() -> None:
    ended = {"terminated": {"exitCode": 2, "message": "starting\nRABBITMQ_URL: not an address\n"}}
    pod = waiting_pod("CrashLoopBackOff", restartCount=4, lastState=ended)

    trouble = pool_trouble(None, [pod], "")

    assert trouble == Trouble(
        "pod capw-cpu-1 keeps ending (4 restarts, exit status 2); its last words were: "
        "RABBITMQ_URL: not an address",
        "CrashLoop",
    )


def test_a_pod_killed_for_its_memory_says_which_field_to_raise() -> None:
    pod = waiting_pod("CrashLoopBackOff", lastState={"terminated": {"reason": "OOMKilled"}})

    trouble = pool_trouble(None, [pod], "")

    assert trouble.reason == "OutOfMemory"
    assert "spec.resources.limits.memory" in trouble.sentence


def test_a_secret_that_is_missing_is_told() -> None:
    pod = waiting_pod("CreateContainerConfigError", 'secret "broker" not found')

    assert 'secret "broker" not found' in pool_trouble(None, [pod], "").sentence


def test_a_quota_that_is_used_up_is_told() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
    deployment = seen_deployment(conditions=[{**condition, "message": "exceeded quota: small"}])

    assert pool_trouble(deployment, [], "") == Trouble(
        "pods are refused by the cluster: exceeded quota: small", "FailedCreate"
    )


def test_a_refused_object_is_told_before_all_else() -> None:
    assert pool_trouble(None, [waiting_pod("ErrImagePull")], "refused").reason == "Refused"


def test_last_words_are_cut_to_a_length_that_fits_a_status() -> None:
    assert last_line("") == ""
    assert len(last_line("x" * 1000)) == 300
