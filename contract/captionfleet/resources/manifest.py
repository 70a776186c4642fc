"""Manifests: the envelope around a spec, and the one door through which manifests are judged."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError

from captionfleet.resources.base import Labels, Resource, rule, rules
from captionfleet.resources.model import ModelSpec
from captionfleet.resources.model_status import ModelStatus
from captionfleet.resources.pool import PoolSpec
from captionfleet.resources.pool_status import PoolStatus
from captionfleet.resources.rules import broken_rules

API_VERSION: Final = "captionfleet.io/v1alpha1"
ResourceName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
]


class InvalidManifest(ValueError):
    """A manifest that was refused; `problems` are sentences that name the field and the remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Metadata(Resource):
    name: ResourceName
    """Name, unique among resources of its kind."""
    labels: Labels = {}
    """Labels, for selectors."""
    annotations: Annotated[dict[str, str], Field(max_length=64)] = {}
    """Notes for people and tools."""
    generation: int = 1
    """Changes with the spec. Written by the catalog."""
    creation_timestamp: str | None = None
    """When it was made, RFC 3339; in a folder, when its file was written. By the catalog."""
    deletion_timestamp: str | None = None
    """When its deletion was asked for, RFC 3339. Written by the catalog."""
    uid: str | None = None
    """Tells a resource from a later one of the same name. Written by the catalog."""


class ModelManifest(Resource):
    model_config = rules(
        rule("size(self.metadata.name) <= 40", "metadata.name must not exceed 40 characters"),
    )
    api_version: Literal["captionfleet.io/v1alpha1"] = API_VERSION
    kind: Literal["CaptionModel"] = "CaptionModel"
    metadata: Metadata
    spec: ModelSpec
    status: ModelStatus | None = None

    @property
    def name(self) -> str:
        return self.metadata.name


class PoolManifest(Resource):
    model_config = rules(
        rule("size(self.metadata.name) <= 40", "metadata.name must not exceed 40 characters"),
    )
    api_version: Literal["captionfleet.io/v1alpha1"] = API_VERSION
    kind: Literal["CaptionWorkerPool"] = "CaptionWorkerPool"
    metadata: Metadata
    spec: PoolSpec
    status: PoolStatus | None = None

    @property
    def name(self) -> str:
        return self.metadata.name


Manifest = ModelManifest | PoolManifest
KINDS: dict[str, type[ModelManifest] | type[PoolManifest]] = {
    "CaptionModel": ModelManifest,
    "CaptionWorkerPool": PoolManifest,
}

_WRITTEN_BY_CATALOG = ("generation", "creationTimestamp", "deletionTimestamp", "uid")


def as_written(manifest: Manifest) -> dict[str, Any]:
    """What a person wrote: without the status, and without what a catalog adds."""
    document = manifest.as_manifest()
    document.pop("status", None)
    for name in _WRITTEN_BY_CATALOG:
        document["metadata"].pop(name, None)
    return document


def parse_manifest(document: Any, before: Manifest | None = None) -> Manifest:
    """Judge one decoded YAML or JSON document: types and unknown fields first, then CEL rules.

    `before` is the manifest it replaces, if there is one. Raises InvalidManifest with a sentence
    per problem.
    """
    if not isinstance(document, dict):
        raise InvalidManifest(["a manifest is a mapping with apiVersion, kind, metadata and spec"])
    if document.get("apiVersion") != API_VERSION:
        raise InvalidManifest(
            [f"apiVersion is {document.get('apiVersion')!r}: write apiVersion: {API_VERSION}"]
        )
    kind = KINDS.get(str(document.get("kind")))
    if kind is None:
        raise InvalidManifest(
            [f"kind is {document.get('kind')!r}: it must be one of {', '.join(KINDS)}"]
        )
    try:
        # As JSON and strictly, as an API server does: "8" is no number and yes no boolean.
        text = json.dumps({**document, "status": None}, default=str)
        manifest = kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise InvalidManifest(list(_sentences(error))) from None
    if problems := broken_rules(manifest, before):
        raise InvalidManifest(problems)
    return manifest


def _sentences(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            yield f"{field}: unknown field; remove it or correct its name"
        elif problem["type"] == "missing":
            yield f"{field}: required, but missing"
        else:
            yield f"{field}: {problem['msg'].lower()} (got {problem['input']!r:.80})"
