"""The test cluster itself: what other tests rest on."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.clusters import Cluster, CommandFailed
from tests.conftest import eventually

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap"}


def config_map(name: str, namespace: str, **metadata: Any) -> dict[str, Any]:
    return {**CONFIG_MAP, "metadata": {"name": name, "namespace": namespace, **metadata}}


async def test_children_go_with_their_owner(control_plane: Cluster, namespace: str) -> None:
    [owner] = control_plane.apply(config_map("owner", namespace))
    reference = {**CONFIG_MAP, "name": "owner", "uid": owner["metadata"]["uid"]}
    control_plane.apply(config_map("child", namespace, ownerReferences=[reference]))

    control_plane.kubectl("delete", "configmap", "owner", "-n", namespace)

    def child() -> str:
        return control_plane.kubectl(
            "get", "configmap", "child", "--ignore-not-found", "-n", namespace
        )

    await eventually(lambda: not child(), what="child is gone")


def test_the_audit_log_tells_accounts_managers_and_verbs_apart(
    control_plane: Cluster, namespace: str
) -> None:
    control_plane.kubectl("create", "serviceaccount", "someone", "-n", namespace)
    view = ["--clusterrole=edit", f"--serviceaccount={namespace}:someone"]
    control_plane.kubectl("create", "rolebinding", "someone", *view, "-n", namespace)
    kubeconfig = control_plane.kubeconfig_of(namespace, "someone")

    as_someone = ["--kubeconfig", str(kubeconfig), "-n", namespace]
    control_plane.kubectl(*as_someone, "create", "configmap", "c", "--field-manager=mine")
    control_plane.kubectl(*as_someone, "get", "configmap", "c")

    seen = [r for r in control_plane.requests() if r.user.endswith(f":{namespace}:someone")]
    assert [(r.verb, r.resource, r.name, r.manager, r.is_write) for r in seen] == [
        ("create", "configmaps", "c", "mine", True),
        ("get", "configmaps", "c", "", False),
    ]


async def test_a_cluster_ends_with_its_owner_and_disturbs_no_other(
    control_plane: Cluster, tmp_path: Path
) -> None:
    owner = subprocess.Popen(["sleep", "600"])
    other = Cluster.start(tmp_path, node=False, owner=owner.pid)
    other.kubectl("create", "namespace", "only-here")

    owner.kill()
    owner.wait()

    await eventually(lambda: [each.name for each in tmp_path.iterdir()] == ["log"])
    assert "only-here" not in control_plane.kubectl("get", "namespaces")


def test_a_pod_runs_on_the_node_under_restricted_pod_security(
    node_cluster: Cluster, node_namespace: str
) -> None:
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "c", "image": "cluster.test/pause:1", "securityContext": security}
    metadata = {"name": "p", "namespace": node_namespace}
    node_cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"containers": [container]},
        }
    )

    in_namespace = ["-n", node_namespace]
    node_cluster.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=60s", *in_namespace)
    assert "p" in node_cluster.in_node("ctr", "-n", "k8s.io", "containers", "list")


def test_a_pod_that_is_not_restricted_is_refused(control_plane: Cluster, namespace: str) -> None:
    pod = {"containers": [{"name": "c", "image": "i"}]}
    metadata = {"name": "p", "namespace": namespace}
    with pytest.raises(CommandFailed, match='violates PodSecurity "restricted:latest"'):
        control_plane.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
