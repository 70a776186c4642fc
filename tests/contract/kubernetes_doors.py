"""Ways into a Kubernetes API for tests: the real one of the test cluster, and a scripted one."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import yaml
from tests.cluster.clusters import Cluster
from tests.scripted_server import Answer, scripted_server

from captionfleet.catalog.kubernetes_api import KubernetesAPI

RIGHTS = Path(__file__).parent / "api-rights.yaml"


@asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[KubernetesAPI]:
    """A connection by this kubeconfig; it ends with the block."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KUBECONFIG", str(kubeconfig))
        api = await KubernetesAPI.connect()
    try:
        yield api
    finally:
        await api.close()


@asynccontextmanager
async def connected_to(answers: dict[str, Answer], folder: Path) -> AsyncIterator[KubernetesAPI]:
    """A connection to a server with these answers, as the bearer of the token `first`."""
    file = folder / "kubeconfig"
    async with (
        scripted_server(answers) as address,
        connected(write_kubeconfig(file, address, "first")) as api,
    ):
        yield api


def write_kubeconfig(file: Path, address: str, token: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": address}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    file.write_text(yaml.safe_dump(config))
    return file


def narrow_account(cluster: Cluster, namespace: str) -> Path:
    """A kubeconfig of a service account with the rights of the api and no other."""
    rules = yaml.safe_load(RIGHTS.read_text())["rules"]
    group, meta = "rbac.authorization.k8s.io", {"name": "api", "namespace": namespace}
    cluster.apply(
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
            {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": meta, "rules": rules},
            {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": meta,
             "roleRef": {"apiGroup": group, "kind": "Role", "name": "api"},
             "subjects": [{"kind": "ServiceAccount", **meta}]},
        ]
    )  # fmt: skip
    return cluster.kubeconfig_of(namespace, "api")


@contextmanager
def api_server_away(cluster: Cluster) -> Iterator[None]:
    """The API server is killed; after the block a new one serves what etcd holds."""
    pid_file = cluster.state / "apiserver.pid"
    process = Path("/proc") / pid_file.read_text().strip()
    command = (process / "cmdline").read_text().split("\0")[:-1]
    os.kill(int(process.name), signal.SIGKILL)
    try:
        yield
    finally:
        begin = 'setsid "$@" >>"$0" 2>&1 </dev/null & echo $!'
        log = str(cluster.state / "log" / "apiserver.log")
        pid = subprocess.check_output(["bash", "-c", begin, log, *command], text=True)
        pid_file.write_text(pid)
        wait = ["--retry", "60", "--retry-delay", "1", "--retry-all-errors"]
        subprocess.run(["curl", "-fsk", *wait, f"{cluster.server}/readyz"], check=True)
