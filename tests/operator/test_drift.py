"""When an object on the API server is no longer what was applied."""

import copy
from typing import Any

import pytest
from tests.operator.clusters import made

from captionfleet_operator.cluster.drift import drifted

KEY = ("Deployment", "capw-cpu")


def live(**spec: Any) -> dict[str, Any]:
    """As a server answers: the same, with its own additions."""
    body = copy.deepcopy(made(2, **spec)[KEY])
    body["metadata"] |= {"resourceVersion": "7", "uid": "x", "managedFields": []}
    body["spec"]["progressDeadlineSeconds"] = 600
    body["spec"]["template"]["spec"] |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}
    body["spec"]["template"]["spec"]["containers"].append({"name": "injected", "image": "mesh"})
    body["status"] = {"replicas": 2}
    return body


def test_what_is_not_there_has_drifted() -> None:
    assert drifted(made(2)[KEY], None)


def test_what_the_server_and_others_added_is_no_drift() -> None:
    assert not drifted(made(2)[KEY], live())


def test_another_wish_is_drift_even_if_it_only_takes_something_away() -> None:
    assert drifted(made(2)[KEY], live(env={"A": "1"}))


@pytest.mark.parametrize(
    "place",
    [
        ["spec", "replicas"],
        ["spec", "template", "spec", "containers", 0, "image"],
        ["spec", "template", "spec", "containers", 0, "env", 0, "value"],
        ["spec", "template", "spec", "terminationGracePeriodSeconds"],
        ["metadata", "labels", "captionfleet.io/pool"],
        ["metadata", "ownerReferences", 0, "uid"],
    ],
)
def test_a_field_of_ours_that_somebody_changed_is_drift(place: list[str | int]) -> None:
    body = live()
    part: Any = body
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = "changed"

    assert drifted(made(2)[KEY], body)


def test_a_field_of_ours_that_somebody_removed_is_drift() -> None:
    body = live()
    del body["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]

    assert drifted(made(2)[KEY], body)


def test_the_servers_way_of_writing_an_amount_is_no_drift() -> None:
    wish: dict[str, Any] = {"resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}}
    body = live(**wish)
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {
        "limits": {"cpu": "1", "memory": "1Gi"}
    }

    assert not drifted(made(2, **wish)[KEY], body)


def test_an_empty_text_that_the_server_leaves_out_is_no_drift() -> None:
    body = live(env={"EMPTY": ""})
    for each in body["spec"]["template"]["spec"]["containers"][0]["env"]:
        if each["name"] == "EMPTY":
            del each["value"]

    assert not drifted(made(2, env={"EMPTY": ""})[KEY], body)
