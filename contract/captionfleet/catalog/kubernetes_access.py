"""Where the Kubernetes API is and how to prove who we are: a kubeconfig, or a pod's own account.

The official client reads both. It is imported here when a connection is made: programs that do
not talk to Kubernetes never load it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class NoAccess(Exception):
    """Neither a kubeconfig nor a service account was found, or it cannot be read."""


async def load_access(
    configuration: "Configuration",
    environment: Mapping[str, str] = os.environ,
    account: Path = _ACCOUNT,
) -> None:
    """Fill in address, trust and credentials; call it again to have credentials read anew.

    A KUBECONFIG that somebody set wins over the pod's account, which wins over ~/.kube/config.
    """
    from kubernetes.aio.config import ConfigException

    named = environment.get("KUBECONFIG")
    try:
        if not named and (account / "token").is_file() and "KUBERNETES_SERVICE_HOST" in environment:
            _load_account(configuration, environment, account)
        else:
            await _load_kubeconfig(configuration, named or _home_kubeconfig(environment))
    except (ConfigException, OSError, ValueError) as error:
        raise NoAccess(
            f"no way into a Kubernetes API: {error}; set KUBECONFIG, or in a pod mount the token "
            "of its service account"
        ) from error


def _load_account(
    configuration: "Configuration", environment: Mapping[str, str], account: Path
) -> None:
    """The token is read again every minute, for it rotates."""
    from kubernetes.aio.config.incluster_config import InClusterConfigLoader

    loader = InClusterConfigLoader(
        str(account / "token"), str(account / "ca.crt"), True, environment
    )
    loader.load_and_set(configuration)
    # A proxy for the outside world must not be asked for the cluster's own address.
    configuration.client_session_kwargs = {"trust_env": False}


async def _load_kubeconfig(configuration: "Configuration", file: str) -> None:
    from kubernetes.aio.config import load_kube_config

    await load_kube_config(file, client_configuration=configuration, persist_config=False)


def _home_kubeconfig(environment: Mapping[str, str]) -> str:
    return str(Path(environment.get("HOME", "/")) / ".kube" / "config")
