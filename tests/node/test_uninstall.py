"""What uninstalling leaves, what deleting the namespace leaves, and how long either takes."""

import time

import pytest
from tests.conftest import eventually
from tests.node.conftest import POOL
from tests.node.installation import Installation
from tests.node.pictures import ORACLE

LIMIT_SECONDS = 120


def fill(installation: Installation) -> None:
    """The chart, one worker with a cache of its own, and a model that it has loaded."""
    installation.install()
    autoscaling = {"minReplicas": 1, "maxReplicas": 1}
    cache = {"type": "PVC", "sizeLimit": "1Gi"}
    pool = {**POOL, "volumes": [], "autoscaling": autoscaling, "cache": cache}
    installation.apply("CaptionWorkerPool", "cpu", pool)
    files = [{"path": "oracle.py", "content": ORACLE}]
    custom = {"entrypoint": "oracle:Oracle", "files": files}
    installation.apply("CaptionModel", "oracle", {"custom": custom})
    installation.wait_ready("oracle")


def left_over(installation: Installation) -> set[str]:
    """`kind/name` of everything in the namespace but what every namespace has."""
    kinds = installation.cluster.kubectl(
        "api-resources", "--namespaced", "--verbs=list", "-o", "name"
    ).split()
    ignored = {"events", "events.events.k8s.io", "endpointslices.discovery.k8s.io", "endpoints"}
    listed = installation.kubectl("get", ",".join(set(kinds) - ignored), "-o", "name").split()
    return set(listed) - {"serviceaccount/default", "configmap/kube-root-ca.crt"}


@pytest.mark.parametrize("first", ["nobody", "operator", "broker"])
async def test_a_deleted_namespace_is_gone_in_time_whoever_went_first(
    another: Installation, first: str
) -> None:
    fill(another)
    if first == "operator":
        another.kubectl("delete", "deployment", "captionfleet-operator", "--now")
    if first == "broker":
        another.kubectl("delete", "statefulset", "captionfleet-rabbitmq", "--now")
    began = time.monotonic()

    another.cluster.kubectl("delete", "namespace", another.namespace, f"--timeout={LIMIT_SECONDS}s")

    assert time.monotonic() - began < LIMIT_SECONDS


async def test_uninstalling_works_without_broker_and_operator(another: Installation) -> None:
    fill(another)
    another.kubectl("delete", "statefulset", "captionfleet-rabbitmq", "--now")
    another.kubectl("delete", "deployment", "captionfleet-operator", "--now")

    assert another.uninstall() < LIMIT_SECONDS

    await eventually(lambda: not another.workers(), seconds=60)


async def test_helm_uninstall_leaves_types_resources_and_claims_alone(
    installed: Installation,
) -> None:
    """The last test of all: nobody needs the shared installation any more."""
    installed.wait_ready("oracle")
    notes = installed.helm("get", "notes", "captionfleet")

    assert installed.uninstall() < LIMIT_SECONDS

    await eventually(lambda: not [n for n in left_over(installed) if n.startswith("pod/")])
    assert {name.partition("/")[0] for name in left_over(installed)} == {
        "captionmodel.captionfleet.io", "captionworkerpool.captionfleet.io",
        "persistentvolumeclaim",
    }  # fmt: skip
    assert "captionmodels.captionfleet.io" in installed.cluster.kubectl("get", "crd", "-o", "name")
    for named in ("delete crd", "captionmodels,captionworkerpools", "persistentvolumeclaims"):
        assert named in notes
