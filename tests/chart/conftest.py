"""Helm, built from its Go module. Whatever uses it belongs to the control plane's tier."""

from collections.abc import Iterator

import pytest
from tests.chart.helm import Helm, Rendered
from tests.cluster.clusters import Cluster, program
from tests.cluster.fixtures import CLUSTERS

CLUSTERS["helm"] = ("control_plane", ["helm"])
CLUSTERS["bare_cluster"] = ("control_plane", ["kube"])


@pytest.fixture(scope="session")
def helm() -> Helm:
    return Helm(program("helm"))


@pytest.fixture(scope="session")
def zero_values(helm: Helm) -> Rendered:
    """What `helm install captionfleet charts/captionfleet --namespace captions` makes."""
    return helm.template()


@pytest.fixture(scope="session")
def everything(helm: Helm) -> Rendered:
    """The chart with everything on that is off by default."""
    return helm.template(
        {
            "quickstart": {"enabled": True},
            "ingress": {"enabled": True, "hosts": ["captions.example"]},
            "monitoring": {"serviceMonitor": {"enabled": True}},
            "rbac": {"aggregate": True},
        }
    )


@pytest.fixture(scope="module")
def bare_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane that has never heard of captionfleet."""
    cluster = Cluster.start(tmp_path_factory.mktemp("cluster"), node=False)
    try:
        yield cluster
    finally:
        cluster.stop()
