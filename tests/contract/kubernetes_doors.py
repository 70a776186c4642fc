"""Ways into a Kubernetes API for tests: the real one of the test cluster, and a scripted one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from tests.scripted_server import Answer, scripted_server

from captionfleet.catalog.kubernetes_api import KubernetesAPI


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
