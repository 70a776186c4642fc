"""One installation by Helm on the node, and what people do with it: kubectl, helm, the client."""

import base64
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import yaml
from tests.cluster.clusters import Cluster, program, run
from tests.cluster.images.node_images import RABBITMQ, SERVER, WORKER
from tests.conftest import ROOT, SHAPES

from captionfleet.client import Client
from captionfleet.resources import API_VERSION

Document = dict[str, Any]

CHART = ROOT / "charts" / "captionfleet"
RELEASE = "captionfleet"
CLAIM = "models"
STRICT = "pod-security.kubernetes.io/enforce=restricted"

_SMALL = {"requests": {"cpu": "10m", "memory": "64Mi"}}


def _image(name: str) -> Document:
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag, "pullPolicy": "Never"}


VALUES: Document = {
    "image": _image(SERVER),
    "worker": {"image": _image(WORKER)},
    "rabbitmq": {"image": _image(RABBITMQ), "persistence": {"size": "1Gi"}, "resources": _SMALL},
    "api": {"persistence": {"size": "1Gi"}, "resources": _SMALL},
    "operator": {"resources": _SMALL},
}


@dataclass(frozen=True)
class Installation:
    """A namespace with the chart in it."""

    cluster: Cluster
    namespace: str

    # helm

    def helm(self, *args: str, input: str | None = None) -> str:
        common = ["--kubeconfig", str(self.cluster.kubeconfig), "--namespace", self.namespace]
        return run([str(program("helm")), *args, *common], input=input)

    def install(self, values: Document | None = None) -> str:
        """`helm install` into a fresh namespace as strict as can be; returns what it prints."""
        self.cluster.kubectl("create", "namespace", self.namespace)
        self.cluster.kubectl("label", "namespace", self.namespace, STRICT)
        text = yaml.safe_dump(VALUES | (values or {}))
        return self.helm(
            "install", RELEASE, str(CHART), "--values", "-", "--wait", "--timeout", "4m", input=text
        )

    def uninstall(self) -> float:
        """`helm uninstall`; returns the seconds it took."""
        began = time.monotonic()
        self.helm("uninstall", RELEASE, "--timeout", "120s", "--wait")
        return time.monotonic() - began

    # kubectl

    def kubectl(self, *args: str, input: str | None = None) -> str:
        return self.cluster.kubectl("-n", self.namespace, *args, input=input)

    def get(self, *args: str) -> Document:
        return self.cluster.get(*args, "-n", self.namespace)

    def apply(self, kind: str, name: str, spec: Mapping[str, Any]) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        self.cluster.apply(
            {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
        )

    def status(self, kind: str, name: str) -> Document:
        found: Document = self.get(kind, name).get("status") or {}
        return found

    def condition(self, kind: str, name: str, type_: str = "Ready") -> tuple[str, str, str]:
        """(status, reason, message)."""
        for each in self.status(kind, name).get("conditions", ()):
            if each["type"] == type_:
                return each["status"], each["reason"], each["message"]
        return "", "", ""

    def pods(self, selector: str) -> list[Document]:
        """Pods that are not being deleted."""
        found = self.get("pods", "-l", selector)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def workers(self, pool: str = "cpu") -> list[str]:
        return [p["metadata"]["name"] for p in self.pods(f"captionfleet.io/pool={pool}")]

    def wait_ready(self, *models: str, seconds: int = 240) -> None:
        names = [f"captionmodel/{name}" for name in models]
        self.kubectl("wait", "--for=condition=Ready", *names, f"--timeout={seconds}s")

    # The api.

    @property
    def url(self) -> str:
        """Its Service, which this machine reaches by the node's routes."""
        service = self.get("service", f"{RELEASE}-api")
        return f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"

    @property
    def token(self) -> str:
        secret = self.get("secret", f"{RELEASE}-token")
        return base64.b64decode(secret["data"]["token"]).decode()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with Client(self.url, self.token) as client:
            yield client

    # Models from a claim.

    def fill_claim(self) -> None:
        """A claim with the toy checkpoints, one folder each."""
        self.cluster.apply(
            [
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {"name": CLAIM, "namespace": self.namespace},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "1Gi"}},
                    },
                },
                _loader(self.namespace),
            ]
        )
        self.kubectl("wait", "--for=condition=Ready", "pod/loader", "--timeout=120s")
        packed = subprocess.run(
            ["tar", "-C", str(SHAPES / "models"), "-cf", "-", "shapes-basic", "shapes-blip"],
            capture_output=True,
            check=True,
        ).stdout
        kube = str(self.cluster.state / "kube")
        subprocess.run(
            [kube, "kubectl", "--kubeconfig", str(self.cluster.kubeconfig), "-n", self.namespace,
             "exec", "-i", "loader", "--", "tar", "-C", "/models", "--no-same-owner", "-xf", "-"],
            input=packed, check=True, capture_output=True,
        )  # fmt: skip
        self.kubectl("delete", "pod", "loader", "--grace-period=0", "--force")

    def shapes(self, name: str, **spec: Any) -> None:
        """One of the toy checkpoints as a model."""
        source = {"volume": {"claimName": CLAIM, "path": name}}
        self.apply(
            "CaptionModel", name, {"source": source, "generation": {"maxNewTokens": 32}} | spec
        )


def _loader(namespace: str) -> Document:
    """A pod that does nothing but hold the claim open for writing."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "loader", "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "loader", "image": SERVER, "imagePullPolicy": "Never",
                    "command": ["sleep", "3600"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "models", "mountPath": "/models"}],
                }
            ],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": CLAIM}}],
        },
    }  # fmt: skip
