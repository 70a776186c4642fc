"""Uploaded code in a namespace: each version an immutable ConfigMap that its model owns."""

from typing import Any, Final

import structlog

from captionfleet.catalog.code import SHOWN, digest_of, stands_for
from captionfleet.catalog.kubernetes_api import KubernetesAPI, path_of
from captionfleet.catalog.kubernetes_errors import ALREADY_THERE, KubernetesError
from captionfleet.ids import new_nonce
from captionfleet.resources import API_VERSION, Manifest, ModelManifest
from captionfleet.resources.model import ConfigMapReference

log = structlog.get_logger()

MODEL_LABEL: Final = "captionfleet.io/model"


def map_name(model: ModelManifest, there: ModelManifest | None) -> str:
    """Name of the ConfigMap for the model's files: the one it has, if it holds the same.

    Otherwise a name never used before: the map of a deleted model goes some time after it.
    """
    assert model.spec.custom
    digest = digest_of(model.spec.custom.files)
    custom = there.spec.custom if there else None
    if custom and custom.config_map_ref and stands_for(custom, digest):
        return custom.config_map_ref.name
    return f"{model.name}-code-{digest[:SHOWN]}-{new_nonce()}"


def code_map(name: str, model: ModelManifest, owner: Manifest) -> dict[str, Any]:
    """The ConfigMap of the model's files. It never changes, and goes when its owner goes."""
    assert model.spec.custom and owner.metadata.uid
    reference = {
        "apiVersion": API_VERSION,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.metadata.uid,
    }
    metadata = {"name": name, "labels": _labels(model.name), "ownerReferences": [reference]}
    data = {file.path: file.content for file in model.spec.custom.files}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "immutable": True,
        "data": data,
    }


def referring(model: ModelManifest, name: str) -> ModelManifest:
    """The model with its code in the ConfigMap of that name."""
    assert model.spec.custom
    there = {"files": [], "config_map_ref": ConfigMapReference(name=name)}
    custom = model.spec.custom.model_copy(update=there)
    return model.model_copy(update={"spec": model.spec.model_copy(update={"custom": custom})})


async def make_map(api: KubernetesAPI, namespace: str, document: dict[str, Any]) -> None:
    """One of that name holds the same. Raises KubernetesError."""
    try:
        await api.create(path_of("v1", "configmaps", namespace), document)
    except KubernetesError as error:
        if error.status != ALREADY_THERE:
            raise


async def remove_old_maps(
    api: KubernetesAPI, namespace: str, before: ModelManifest, name: str
) -> None:
    """All code of the model but that of this name and that which it had before.

    What stays by accident goes with the model.
    """
    custom = before.spec.custom
    last = custom.config_map_ref.name if custom and custom.config_map_ref else ""
    selector = ",".join(f"{key}={value}" for key, value in _labels(before.name).items())
    try:
        listed = await api.list(path_of("v1", "configmaps", namespace), labelSelector=selector)
        for each in listed["items"]:
            if (old := each["metadata"]["name"]) not in (name, last):
                await api.delete(path_of("v1", "configmaps", namespace, old))
    except KubernetesError as error:
        log.warning("old code was not removed", model=before.name, why=str(error))


def _labels(model: str) -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": "captionfleet-api", MODEL_LABEL: model}
