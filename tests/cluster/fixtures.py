"""Fixtures that start the test cluster, and the tiers that tests using it belong to."""

from collections.abc import Iterator

import pytest
from tests.cluster.clusters import Cluster, build
from tests.cluster.images.node_images import build_all
from tests.conftest import ROOT

from captionfleet.ids import new_nonce

CLUSTERS = {
    # fixture: (tier's marker, programs)
    "control_plane": ("control_plane", ["kube"]),
    "node_cluster": ("node", ["kube", "coredns", "pause.tar"]),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs a cluster belongs to that cluster's tier."""
    for item in items:
        for fixture in CLUSTERS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(CLUSTERS[fixture][0])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test: a cold build takes longer than a test may."""
    if session.config.option.collectonly:
        return
    used = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        for fixture in CLUSTERS.keys() & used:
            for program in CLUSTERS[fixture][1]:
                build(program)
        if "node_cluster" in used:
            build_all()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """etcd, API server, controller manager and scheduler of this process alone, with our CRDs."""
    yield from _cluster(tmp_path_factory, node=False)


@pytest.fixture(scope="session")
def node_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The same with a node that runs pods, and has our images. Needs root."""
    yield from _cluster(tmp_path_factory, node=True)


@pytest.fixture
def namespace(control_plane: Cluster) -> Iterator[str]:
    """A fresh namespace on the control plane, as strict about pods as Kubernetes can be."""
    yield from _namespace(control_plane)


@pytest.fixture
def node_namespace(node_cluster: Cluster) -> Iterator[str]:
    """The same on the cluster with a node."""
    yield from _namespace(node_cluster)


def _cluster(factory: pytest.TempPathFactory, *, node: bool) -> Iterator[Cluster]:
    images = build_all() if node else None
    cluster = Cluster.start(factory.mktemp("cluster"), node=node, images=images)
    try:
        if not node:  # there the chart brings them
            cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
            cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield cluster
    finally:
        cluster.stop()


def _namespace(cluster: Cluster) -> Iterator[str]:
    name = f"test-{new_nonce()}"
    levels = {f"pod-security.kubernetes.io/{what}": "restricted" for what in ("enforce", "warn")}
    metadata = {"name": name, "labels": levels}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    # Made a moment later, and no pod is judged before it is there.
    account = ("serviceaccount/default", "-n", name, "--timeout=60s")
    cluster.kubectl("wait", "--for=create", *account)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
