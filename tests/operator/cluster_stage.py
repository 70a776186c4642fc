"""A real operator process on a real API server and broker; workers are processes that only talk."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.audit import Request
from tests.cluster.clusters import Cluster
from tests.operator.running import FAKES, Ear

from captionfleet.broker.link import Link, NotConfirmed
from captionfleet.broker.names import Names
from captionfleet.messages import Demand, ModelDemand
from captionfleet.resources import API_VERSION

CHILD_KINDS = "deployment,service,serviceaccount,pdb,networkpolicy,pvc"
OURS = "app.kubernetes.io/managed-by=captionfleet-operator"

Document = dict[str, Any]


@dataclass
class Stage:
    """One fleet in one namespace. `ear` and `link` are the test's own."""

    folder: Path
    cluster: Cluster
    namespace: str
    url: str
    names: Names
    ear: Ear
    link: Link
    wanted: dict[str, int] = field(default_factory=dict)
    """Model -> tasks that wait, told to the fleet all the time."""
    operators: list[subprocess.Popen[bytes]] = field(default_factory=list)
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    # Acting as people do.

    def manifest(self, kind: str, name: str, spec: Document) -> Document:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}

    def model(self, name: str, **spec: Any) -> None:
        source = {"source": {"huggingFace": {"repo": f"test/{name}"}}}
        acceptance = {"acceptance": {"prove": "OnFirstUse"}}
        self.cluster.apply(self.manifest("CaptionModel", name, source | acceptance | spec))

    def pool(self, name: str = "cpu", **spec: Any) -> None:
        self.cluster.apply(
            self.manifest("CaptionWorkerPool", name, {"device": {"type": "CPU"}} | spec)
        )

    def kubectl(self, *args: str) -> str:
        return self.cluster.kubectl("-n", self.namespace, *args)

    # The operator.

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "RABBITMQ_URL": self.url,
            "CAPTIONFLEET_FLEET": self.names.fleet,
            "CAPTIONFLEET_NAMESPACE": self.namespace,
            "CAPTIONFLEET_DATA": str(self.folder),
            "CAPTIONFLEET_IDENTITY": "first",
            "CAPTIONFLEET_LISTENING_SECONDS": "1.5",
            "CAPTIONFLEET_OPERATOR_PORT": "0",
            **more,
        }

    def start(self, **more: str) -> subprocess.Popen[bytes]:
        with (self.folder / "operator.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "captionfleet_operator"],
                env=self.environment(**more), stdout=log, stderr=log,
            )  # fmt: skip
        self.operators.append(process)
        return process

    def log(self) -> str:
        return (self.folder / "operator.log").read_text()

    def door(self, path: str) -> str:
        """What the last operator answers; empty while its port is not open."""
        ports = [
            line.split("port=")[1].split()[0]
            for line in self.log().splitlines()
            if "doors open" in line
        ]
        if len(ports) < len(self.operators):
            return ""
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[-1]}{path}") as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> float:
        """The first sample of that name; 0 while there is none."""
        lines = self.door("/metrics").splitlines()
        samples = [line for line in lines if line.startswith(name) and line[len(name)] in " {"]
        return float(samples[0].split()[-1]) if samples else 0.0

    def end(self) -> int:
        """SIGTERM to the last operator; returns its exit status."""
        self.operators[-1].send_signal(signal.SIGTERM)
        return self.operators[-1].wait(20)

    # The workers.

    def pods(self, pool: str = "cpu") -> list[str]:
        """Names of the pool's pods that are not being deleted."""
        found = self.cluster.get("pods", "-n", self.namespace, "-l", f"captionfleet.io/pool={pool}")
        return sorted(
            pod["metadata"]["name"]
            for pod in found["items"]
            if "deletionTimestamp" not in pod["metadata"]
        )

    def staff(self, pool: str = "cpu") -> list[str]:
        """Have every pod talk as its worker would, and nobody without a pod."""
        pods = self.pods(pool)
        for worker in set(self.workers) - set(pods):
            self.retire(worker)
        for pod in pods:
            if pod not in self.workers:
                self.workers[pod] = self._worker(pod, pool)
        return pods

    def retire(self, worker: str) -> None:
        """It falls silent; its pod, if it has one, stays."""
        process = self.workers.pop(worker)
        process.kill()
        process.wait()

    def _worker(self, pod: str, pool: str) -> subprocess.Popen[bytes]:
        who = {"CAPTIONFLEET_WORKER": pod, "CAPTIONFLEET_POOL": pool, "PYTHONPATH": str(FAKES)}
        return subprocess.Popen(
            [sys.executable, "-m", "captionfleet_worker"], env=self.environment(**who)
        )

    async def demand_for_ever(self) -> None:
        while True:
            models = {name: ModelDemand(pending=total) for name, total in self.wanted.items()}
            demand = Demand(backend="test", models=models)
            with contextlib.suppress(NotConfirmed):  # it is said again at once
                await self.link.publish(
                    self.names.demand, "", demand.encode(), persistent=False, mandatory=False
                )
            await asyncio.sleep(0.2)

    # What the API server holds.

    def children(self) -> dict[str, Document]:
        """`kind/name` -> what there is of ours, without what differs from run to run."""
        found = self.cluster.get(CHILD_KINDS, "-n", self.namespace, "-l", OURS)["items"]
        return {f"{item['kind']}/{item['metadata']['name']}": _lasting(item) for item in found}

    def replicas(self, pool: str = "cpu") -> int | None:
        found = self.children().get(f"Deployment/capw-{pool}")
        return found["spec"]["replicas"] if found else None

    def status(self, kind: str, name: str) -> Document:
        found: Document = self.cluster.get(kind, name, "-n", self.namespace).get("status") or {}
        return found

    def condition(self, kind: str, name: str, type_: str) -> tuple[str, str]:
        """(status, reason), both empty while there is none."""
        for condition in self.status(kind, name).get("conditions", ()):
            if condition["type"] == type_:
                return condition["status"], condition["reason"]
        return "", ""

    def writes(self) -> list[Request]:
        """What operators wrote in this namespace, but for the lease's renewals and events."""
        return [
            request
            for request in self.cluster.requests()
            if request.is_write
            and request.namespace == self.namespace
            and request.manager.startswith("captionfleet-operator")
        ]

    def clean_up(self) -> None:
        for process in (*self.operators, *self.workers.values()):
            if process.poll() is None:
                process.kill()
            process.wait()


def _lasting(item: Mapping[str, Any]) -> Document:
    metadata = item["metadata"]
    spec = dict(item.get("spec") or {})
    for given_by_the_cluster in ("clusterIP", "clusterIPs", "volumeName"):
        spec.pop(given_by_the_cluster, None)
    return {
        "labels": metadata["labels"],
        "applied": metadata["annotations"]["captionfleet.io/applied"],
        "owners": [owner["name"] for owner in metadata["ownerReferences"]],
        "finalizers": [f for f in metadata.get("finalizers", ()) if "captionfleet" in f],
        "spec": spec,
    }
