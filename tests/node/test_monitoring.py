"""Prometheus finds the workers by the ServiceMonitor that the operator made, and scrapes them."""

import json
import os
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest
from tests.cluster.clusters import Cluster, program, run
from tests.cluster.images.node_images import PROMETHEUS
from tests.conftest import ROOT, eventually
from tests.node.installation import CHART, RELEASE, Document, Installation
from tests.node.jobs import finished, submit
from tests.node.pictures import plain

MODULE = "github.com/prometheus-operator/prometheus-operator"
NAMESPACE = "monitoring"


@pytest.fixture(scope="module")
def prometheus(node_cluster: Cluster) -> Iterator[str]:
    """The prometheus-operator on this machine, and a Prometheus of its making; its address."""
    folder = program("prometheus-operator").parent
    node_cluster.kubectl("apply", "--server-side", "-f", str(_crds()))
    node_cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    with (node_cluster.state / "prometheus-operator.log").open("wb") as log:
        operator = subprocess.Popen(
            [str(folder / "prometheus-operator"),
             f"--prometheus-config-reloader={PROMETHEUS}", "--web.listen-address=127.0.0.1:0"],
            stdout=log, stderr=log,
            env={**os.environ, "KUBECONFIG": str(node_cluster.kubeconfig)},
        )  # fmt: skip
    node_cluster.kubectl("create", "namespace", NAMESPACE)
    node_cluster.apply(_objects())
    yield _address(node_cluster)
    operator.terminate()
    operator.wait()
    node_cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


async def test_processed_messages_of_the_pods_are_scraped(
    installed: Installation, prometheus: str
) -> None:
    async with installed.client() as client:
        await finished(client, await submit(client, plain(10, blue=30), ["oracle"]), seconds=240)
        more = await submit(client, plain(300, blue=40), ["oracle"])

        def counted() -> float:
            query = 'sum(processed_messages_total{namespace="captions", model="oracle"})'
            return value_of(prometheus, query)

        await eventually(lambda: counted() > 0, seconds=180, what="processed_messages_total")
        await client.cancel(more)
    targets = 'count(up{namespace="captions", service="capw-cpu"} == 1)'
    assert value_of(prometheus, targets) >= 1


async def test_an_upgrade_has_the_operators_backlog_scraped_too(
    installed: Installation, prometheus: str
) -> None:
    """The chart was installed when the cluster knew no ServiceMonitors."""
    installed.helm("upgrade", RELEASE, str(CHART), "--reuse-values", "--wait", "--timeout", "3m")

    query = 'captionfleet_pool_backlog_seconds{pool="cpu"}'
    # A pod sees a changed Secret after up to 90 s, and then is the first scrape awaited.
    await eventually(lambda: ask(prometheus, query), seconds=240, what="the operator's backlog")


def ask(address: str, query: str) -> list[Document]:
    """The samples of an instant query; none while Prometheus is not there yet."""
    url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return list(json.load(answer)["data"]["result"])
    except OSError:
        return []


def value_of(address: str, query: str) -> float:
    found = ask(address, query)
    return float(found[0]["value"][1]) if found else 0.0


def _address(cluster: Cluster) -> str:
    service = cluster.get("service", "prometheus", "-n", NAMESPACE)
    return f"http://{service['spec']['clusterIP']}:9090"


def _crds() -> str:
    """They lie in the module that the program was built from."""
    source = ROOT / "tests" / "cluster" / "programs" / "prometheus-operator"
    module = run(["go", "-C", str(source), "list", "-m", "-f", "{{.Dir}}", MODULE]).strip()
    return f"{module}/example/prometheus-operator-crd"


def _objects() -> list[Document]:
    """A Prometheus that selects every ServiceMonitor there is, with the rights to discover."""
    name = {"name": "prometheus", "namespace": NAMESPACE}
    account = {"kind": "ServiceAccount", "name": "prometheus", "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "prometheus"},
            "rules": [
                {"apiGroups": [""], "resources": ["services", "endpoints", "pods"],
                 "verbs": ["get", "list", "watch"]},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
                 "verbs": ["get", "list", "watch"]},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "prometheus"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                        "name": "prometheus"},
            "subjects": [account],
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": name,
            "spec": {"selector": {"prometheus": "prometheus"},
                     "ports": [{"name": "web", "port": 9090}]},
        },
        {
            "apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": name,
            "spec": {
                "image": PROMETHEUS, "version": "3.13.5", "replicas": 1,
                "imagePullPolicy": "Never", "serviceAccountName": "prometheus",
                "serviceMonitorSelector": {}, "serviceMonitorNamespaceSelector": {},
                "securityContext": {
                    "runAsNonRoot": True, "runAsUser": 65534, "fsGroup": 65534,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "resources": {"requests": {"memory": "100Mi"}},
            },
        },
    ]  # fmt: skip
