"""Fixtures of the node tier: one installation that most tests share."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.cluster.clusters import Cluster
from tests.node.installation import CLAIM, Installation
from tests.node.pictures import ORACLE

from captionfleet.ids import new_nonce

POOL = {
    "device": {"type": "CPU"},
    "volumes": [{"claimName": CLAIM}],
    "env": {"CAPTIONFLEET_THREADS": "1"},
    "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "4Gi"}},
    "drain": {"timeoutSeconds": 30},
    "autoscaling": {
        "minReplicas": 0,
        "maxReplicas": 2,
        "targetBacklogSeconds": 2,
        "scaleDown": {"stabilizationSeconds": 5},
        "scaleToZeroAfterSeconds": 10,
    },
}
SLOWLY = {"maxNewTokens": 32, "numBeams": 8}
"""So that a hundred pictures take long enough for a second worker to help."""


@pytest.fixture(scope="session")
def installed(node_cluster: Cluster) -> Iterator[Installation]:
    """The chart with a pool from 0 to 2 workers, two toy models from a claim, and the oracle."""
    installation = Installation(node_cluster, "captions")
    installation.install()
    installation.fill_claim()
    installation.apply("CaptionWorkerPool", "cpu", POOL)
    for name in ("shapes-basic", "shapes-blip"):
        installation.shapes(name, generation=SLOWLY, batching={"maxBatchSize": 2})
    files = [{"path": "oracle.py", "content": ORACLE}]
    custom = {"entrypoint": "oracle:Oracle", "files": files}
    installation.apply(
        "CaptionModel", "oracle", {"custom": custom, "batching": {"maxBatchSize": 4}}
    )
    yield installation


@pytest.fixture
async def another(node_cluster: Cluster) -> AsyncIterator[Installation]:
    """A namespace of its own, with nothing in it yet; removed in the background."""
    installation = Installation(node_cluster, f"other-{new_nonce()}".lower())
    yield installation
    node_cluster.kubectl(
        "delete", "namespace", installation.namespace, "--wait=false", "--ignore-not-found"
    )
