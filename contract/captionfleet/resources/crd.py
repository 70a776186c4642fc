"""Makes crds/*.yaml from the types: `python -m captionfleet.resources.crd crds`.

Pydantic's JSON schema is rewritten into the structural form that Kubernetes takes.
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from captionfleet.resources.manifest import ModelManifest, PoolManifest
from captionfleet.resources.rules import VALIDATIONS, resolve

_KEPT = (
    "type", "description", "default", "enum", "pattern", "minimum", "maximum", "minLength",
    "maxLength", "minItems", "maxItems", "maxProperties", VALIDATIONS,
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
    "x-kubernetes-int-or-string",
)  # fmt: skip
_REWRITTEN = {
    "$defs", "title", "properties", "required", "items", "additionalProperties", "exclusiveMinimum",
}  # fmt: skip

MODEL_COLUMNS = [
    ("READY", "string", ".status.conditions[?(@.type=='Ready')].status", 0),
    ("STATUS", "string", ".status.phase", 0),
    ("COPIES", "string", ".status.copies.summary", 0),
    ("QUEUED", "integer", ".status.queue.total", 0),
    ("WAIT", "string", ".status.queue.wait", 0),
    ("AGE", "date", ".metadata.creationTimestamp", 0),
    ("SOURCE", "string", ".status.source", 1),
    ("REVISION", "string", ".status.revision.active", 1),
    ("P50", "number", ".status.performance.p50Seconds", 1),
    ("MESSAGE", "string", ".status.message", 1),
]
POOL_COLUMNS = [
    ("DEVICE", "string", ".spec.device.type", 0),
    ("READY", "string", ".status.summary", 0),
    ("DESIRED", "integer", ".status.desiredReplicas", 0),
    ("MIN", "integer", ".spec.autoscaling.minReplicas", 0),
    ("MAX", "integer", ".spec.autoscaling.maxReplicas", 0),
    ("MODELS", "integer", ".status.modelsLoaded", 0),
    ("WAIT", "string", ".status.wait", 0),
    ("AGE", "date", ".metadata.creationTimestamp", 0),
    ("MESSAGE", "string", ".status.message", 1),
]
POOL_SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}

ABOUT = {
    "CaptionModel": "A captioner: where its weights or code come from, and how it is run.",
    "CaptionWorkerPool": "Like workers that run models, and how many of them there should be.",
}


def crds() -> dict[str, dict[str, Any]]:
    """File name -> CustomResourceDefinition."""
    return {
        "captionmodels.yaml": _crd(
            ModelManifest, "captionmodels", "capm", MODEL_COLUMNS, {"status": {}}
        ),
        "captionworkerpools.yaml": _crd(
            PoolManifest, "captionworkerpools", "capw", POOL_COLUMNS,
            {"status": {}, "scale": POOL_SCALE},
        ),
    }  # fmt: skip


def render(crd: dict[str, Any]) -> str:
    head = "# Generated from contract/captionfleet/resources by `make crds`. Do not edit.\n"
    return head + yaml.safe_dump(crd, sort_keys=False, width=100)


def _crd(
    manifest: type[BaseModel],
    plural: str,
    short: str,
    columns: list[tuple[str, str, str, int]],
    subresources: dict[str, Any],
) -> dict[str, Any]:
    kind = manifest.model_fields["kind"].default
    root = manifest.model_json_schema(by_alias=True)
    schema = {
        "type": "object",
        "description": ABOUT[kind],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "captionfleet.io/v1alpha1"},
            "kind": {"type": "string", "description": kind},
            "metadata": {"type": "object"},
            "spec": _structural(root, root["properties"]["spec"])
            | {"description": f"What a {kind} should be."},
            "status": _structural(root, root["properties"]["status"])
            | {"description": f"What a {kind} is. Written by the operator alone."},
        },
        VALIDATIONS: root[VALIDATIONS],
    }  # fmt: skip
    schema["properties"]["status"].pop("default", None)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.captionfleet.io"},
        "spec": {
            "group": "captionfleet.io",
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["captioning"],
            },
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "subresources": subresources,
                    "additionalPrinterColumns": [
                        {"name": n, "type": t, "jsonPath": p} | ({"priority": w} if w else {})
                        for n, t, p, w in columns
                    ],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _structural(root: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """One node without references, titles and null alternatives; lists and maps followed."""
    schema = resolve(root, schema)
    if lost := set(schema) - set(_KEPT) - _REWRITTEN:
        raise ValueError(f"a CRD cannot say {sorted(lost)}: say it as a CEL rule, in {schema}")
    out = {key: _unset(schema[key]) for key in _KEPT if schema.get(key) is not None}
    if "x-kubernetes-int-or-string" in schema:
        out.pop("type")
    if "exclusiveMinimum" in schema:
        out |= {"minimum": schema["exclusiveMinimum"], "exclusiveMinimum": True}
    if "properties" in schema:
        out["properties"] = {
            name: _structural(root, part) for name, part in schema["properties"].items()
        }
        if schema.get("required"):
            out["required"] = schema["required"]
    if isinstance(schema.get("additionalProperties"), dict):
        out["additionalProperties"] = _structural(root, schema["additionalProperties"])
    if "items" in schema:
        out["items"] = _structural(root, schema["items"])
    return out


def _unset(value: Any) -> Any:
    """A default without its nulls: an API server takes null for no type."""
    if not isinstance(value, dict):
        return value
    return {name: _unset(part) for name, part in value.items() if part is not None}


def main(folder: str) -> None:
    for name, crd in crds().items():
        Path(folder).mkdir(exist_ok=True)
        (Path(folder) / name).write_text(render(crd))


if __name__ == "__main__":
    main(sys.argv[1])
