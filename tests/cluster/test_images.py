"""The images on a node that is as strict about pods as Kubernetes can be."""

from typing import Any

import pytest
from tests.cluster.clusters import Cluster
from tests.cluster.images.node_images import SERVER, WORKER

pytestmark = pytest.mark.timeout(300)

WRITABLE = {"data": "/data", "cache": "/cache", "tmp": "/tmp"}
LOOK = """
import importlib.util, os, pathlib
written = []
for place in ("/data", "/cache", "/tmp", "/app", "/opt/captionfleet"):
    try:
        pathlib.Path(place, "probe").touch()
        written.append(place)
    except OSError:
        pass
print(os.getuid(), *written)
parts = ("captionfleet", "captionfleet_api", "captionfleet_cli", "captionfleet_worker", "torch")
print(*(name for name in parts if importlib.util.find_spec(name)))
"""


def test_the_worker_computes_without_root_and_writes_to_three_folders_alone(
    node_cluster: Cluster, node_namespace: str
) -> None:
    program = f"{LOOK}\nimport captionfleet_worker.main, torch, transformers\nprint(torch.ones(2))"
    code, said = run(node_cluster, node_namespace, WORKER, program)
    assert said.splitlines() == [
        "10001 /data /cache /tmp", "captionfleet captionfleet_worker torch", "tensor([1., 1.])"
    ]  # fmt: skip
    assert code == 0


def test_api_and_operator_load_from_one_image_without_torch(
    node_cluster: Cluster, node_namespace: str
) -> None:
    program = f"{LOOK}\nimport captionfleet_api.__main__, captionfleet_operator.__main__, kopf"
    code, said = run(node_cluster, node_namespace, SERVER, program)
    assert said.splitlines() == ["10001 /data /cache /tmp", "captionfleet captionfleet_api"]
    assert code == 0


def run(cluster: Cluster, namespace: str, image: str, program: str) -> tuple[int, str]:
    """Run the Python program in a pod; its exit code, and what it printed."""
    cluster.apply(pod(namespace, image, program))
    ended = "jsonpath={.status.containerStatuses[0].state.terminated}"
    cluster.kubectl("-n", namespace, "wait", "pod/probe", f"--for={ended}", "--timeout=240s")
    status = cluster.get("pod", "probe", "-n", namespace)["status"]["containerStatuses"][0]
    return status["state"]["terminated"]["exitCode"], cluster.kubectl(
        "-n", namespace, "logs", "probe"
    )


def pod(namespace: str, image: str, program: str) -> dict[str, Any]:
    container = {
        "name": "probe",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["python", "-c", program],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": n, "mountPath": place} for n, place in WRITABLE.items()],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": name, "emptyDir": {}} for name in WRITABLE],
        },
    }
