"""A test cluster as Python sees it: kubectl, manifests, service accounts, the audit log.

The script `cluster` beside this file starts and ends it.
"""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.audit import Request, read_requests

SCRIPT = Path(__file__).parent / "cluster"


class CommandFailed(AssertionError):
    """A command that ended with an error; `stderr` is what it said."""

    def __init__(self, command: list[str], stderr: str) -> None:
        super().__init__(f"{' '.join(command)}: {stderr}")
        self.stderr = stderr


@dataclass(frozen=True)
class Cluster:
    """A running cluster. Everything is done as cluster admin."""

    state: Path
    server: str
    """Address of the API server."""
    audit_log: Path
    node: str
    """Name of its node, if it has one."""
    host_ip: str
    """Where pods reach what listens on this machine."""

    @classmethod
    def start(
        cls, state: Path, *, node: bool, owner: int | None = None, images: Path | None = None
    ) -> "Cluster":
        """Start one on free ports; it ends with its owner, this process, at the latest.

        `images`: a folder that tests.cluster.images made, for its node to begin with.
        """
        options = ["--owner", str(owner or os.getpid())] + ([] if node else ["--no-node"])
        script(state, "up", *options, images=images)
        lines = script(state, "env").splitlines()
        env = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        return cls(state, env["SERVER"], Path(env["AUDIT_LOG"]), env["NODE"], env["HOST_IP"])

    def stop(self) -> None:
        script(self.state, "down")

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    def kubectl(self, *args: str, input: str | None = None) -> str:
        """What `kubectl ARGS` prints; CommandFailed with its words if it fails."""
        kube = str(self.state / "kube")
        return run([kube, "kubectl", "--kubeconfig", str(self.kubeconfig), *args], input=input)

    def get(self, *args: str) -> dict[str, Any]:
        """`kubectl get ARGS` as an object, or a list with `items`."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *args, "-o", "json"))
        return found

    def apply(
        self, documents: Mapping[str, Any] | Iterable[Mapping[str, Any]], *options: str
    ) -> list[dict[str, Any]]:
        """Apply manifests with kubectl; returns the objects as the server filled them in."""
        each = [documents] if isinstance(documents, Mapping) else list(documents)
        text = yaml.safe_dump_all(each, sort_keys=False)
        done = json.loads(self.kubectl("apply", "-o", "json", *options, "-f", "-", input=text))
        return list(done["items"]) if done["kind"] == "List" else [done]

    def kubeconfig_of(self, namespace: str, account: str) -> Path:
        """A kubeconfig with the rights of this service account alone."""
        token = self.kubectl("create", "token", account, "-n", namespace).strip()
        config = yaml.safe_load(self.kubeconfig.read_text())
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        path = self.state / f"{namespace}-{account}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        return path

    def requests(self) -> list[Request]:
        """Every request the API server answered so far, oldest first."""
        return read_requests(self.audit_log)

    def in_node(self, *command: str) -> str:
        """Run a command inside the node's namespaces."""
        return script(self.state, "in-node", *command)


def program(name: str) -> Path:
    """Where helm, prometheus or another program of `tests/cluster/programs` lies, built if new."""
    return Path(run([str(SCRIPT), "program", name]).strip())


def build(name: str) -> None:
    """Build a program if need be, telling the person who waits."""
    subprocess.run([str(SCRIPT), "build", name], check=True)


def script(state: Path, *args: str, images: Path | None = None) -> str:
    env = {**os.environ, "CLUSTER_STATE": str(state)}
    return run([str(SCRIPT), *args], env=env | ({"CLUSTER_IMAGES": str(images)} if images else {}))


def run(
    command: list[str], *, input: str | None = None, env: Mapping[str, str] | None = None
) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, input=input, env=env
    )
    if done.returncode:
        raise CommandFailed(command, done.stderr.strip())
    return done.stdout
