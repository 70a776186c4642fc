"""Who keeps a resource on an API server: us, or a tool that would write over what we change. Pure.

The server remembers for every field who set it last. A tool that declared parts of the spec keeps
the resource, as a person keeps a file; a single command such as `kubectl edit` does not.
"""

from collections.abc import Mapping
from typing import Any

_APPLIED_BY_KUBECTL = "kubectl-client-side-apply"
_NAMES = {
    _APPLIED_BY_KUBECTL: "kubectl apply",
    "kubectl": "kubectl apply --server-side",
    "helm": "Helm",
    "argocd-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
}


def keeper_of(body: Mapping[str, Any], us: str) -> str | None:
    """The tool that keeps this resource, with its field manager; None if we may change it."""
    for entry in body["metadata"].get("managedFields", ()):
        manager = str(entry.get("manager", ""))
        if manager != us and _declares_spec(entry) and not _is_a_single_command(manager, entry):
            name = _NAMES.get(manager)
            return f"{name} (field manager {manager})" if name else f"field manager {manager}"
    return None


def _declares_spec(entry: Mapping[str, Any]) -> bool:
    """Subresources are left out: status is the operator's, scale belongs to autoscalers."""
    return not entry.get("subresource") and "f:spec" in (entry.get("fieldsV1") or {})


def _is_a_single_command(manager: str, entry: Mapping[str, Any]) -> bool:
    """kubectl create, edit, patch, ...: nothing will write the same again tomorrow."""
    once = manager.startswith("kubectl-") and manager != _APPLIED_BY_KUBECTL
    return once and entry.get("operation") == "Update"


def leftovers(there: Any, wanted: Any) -> dict[str, Any]:
    """The merge patch that removes from `there` what is not in `wanted`: often empty."""
    if not isinstance(there, dict) or not isinstance(wanted, dict):
        return {}
    patch: dict[str, Any] = {}
    for name, value in there.items():
        if name not in wanted:
            patch[name] = None
        elif inner := leftovers(value, wanted[name]):
            patch[name] = inner
    return patch
