"""Builders of what an API server holds: pods, deployments, applied children, in a line each."""

from typing import Any

from pydantic import SecretStr
from tests.operator.fleets import pool

from captionfleet.resources import PoolManifest
from captionfleet_operator.cluster.children import Key, children
from captionfleet_operator.cluster.deployment import Manifest
from captionfleet_operator.cluster.naming import child_labels, child_name
from captionfleet_operator.settings import OperatorSettings

SETTINGS = OperatorSettings(
    namespace="test",
    fleet="test",
    worker_image="captionfleet/worker:1",
    rabbitmq_url=SecretStr("amqp://u:p@broker:5673/"),
)


def pool_manifest(name: str = "cpu", **spec: Any) -> PoolManifest:
    manifest = pool(name, **spec).manifest
    metadata = manifest.metadata.model_copy(update={"uid": f"uid-of-{name}"})
    return manifest.model_copy(update={"metadata": metadata})


def made(replicas: int = 1, *, monitored: bool = False, **spec: Any) -> dict[Key, Manifest]:
    """The children of a pool named cpu."""
    return children(pool_manifest(**spec), replicas, SETTINGS, monitored=monitored)


def pod_spec(**spec: Any) -> Manifest:
    found: Manifest = made(**spec)[("Deployment", "capw-cpu")]["spec"]["template"]["spec"]
    return found


def container(**spec: Any) -> Manifest:
    found: Manifest = pod_spec(**spec)["containers"][0]
    return found


def seen_pod(name: str = "capw-cpu-1", version: int = 1, **status: Any) -> Manifest:
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": child_labels("cpu"),
            "resourceVersion": str(version),
            "creationTimestamp": "2027-01-15T08:00:00Z",
        },
        "status": {"phase": "Running", **status},
    }


def waiting_pod(reason: str, message: str = "", **more: Any) -> Manifest:
    state = {"waiting": {"reason": reason, "message": message}}
    said = {"name": "worker", "image": "captionfleet/worker:1", "ready": False, "state": state}
    return seen_pod(containerStatuses=[{**said, **more}])


def seen_deployment(replicas: int = 1, version: int = 1, **status: Any) -> Manifest:
    manifest = made(replicas)[("Deployment", child_name("cpu"))]
    metadata = {**manifest["metadata"], "resourceVersion": str(version)}
    return {**manifest, "metadata": metadata, "status": status}
