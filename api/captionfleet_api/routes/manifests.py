"""The doors of models and pools: manifests in, manifests out, as JSON or YAML."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import yaml
from fastapi import APIRouter, Query, Request, Response

from captionfleet.catalog import Unavailable
from captionfleet.resources import Manifest, ModelManifest, PoolManifest, parse_manifest
from captionfleet_api.parts import Api, Parts
from captionfleet_api.routes.problems import Problem

_EXAMPLES = {
    "CaptionModel": {"source": {"huggingFace": {"repo": "Salesforce/blip-image-captioning-base"}}},
    "CaptionWorkerPool": {"device": {"type": "CPU"}},
}
Kind = Literal["CaptionModel", "CaptionWorkerPool"]
DryRun = Annotated[
    Literal["All"] | None, Query(alias="dryRun", description="All: only judge the manifest.")
]


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few of them can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not taken here: write it out")
        return super().compose_node(parent, index)


def manifests_router(prefix: str, kind: Kind) -> APIRouter:
    router = APIRouter(prefix=prefix, tags=[prefix.strip("/")])
    documented = {"requestBody": _body(kind)}

    @router.get("", response_model=dict[str, Any])
    async def every(api: Api) -> dict[str, Any]:
        """All of them, with their statuses."""
        found = _known(api, kind)
        return {"items": [found[name].as_manifest() for name in sorted(found)], "next": None}

    @router.get("/{name}", response_model=dict[str, Any])
    async def one(name: str, api: Api) -> dict[str, Any]:
        return _one(api, kind, name).as_manifest()

    @router.post("", status_code=201, response_model=dict[str, Any], openapi_extra=documented)
    async def create(
        request: Request, response: Response, api: Api, dry_run: DryRun = None
    ) -> dict[str, Any]:
        """Add one. 409 if there is one of that name."""
        manifest = await _manifest(request, kind)
        if manifest.name in _known(api, kind):
            raise Problem(409, f"there is a {kind} {manifest.name} already: replace it with PUT")
        response.headers["Location"] = f"/api/v1{prefix}/{manifest.name}"
        return await _put(api, manifest, dry_run)

    @router.put("/{name}", response_model=dict[str, Any], openapi_extra=documented)
    async def replace(
        name: str, request: Request, response: Response, api: Api, dry_run: DryRun = None
    ) -> dict[str, Any]:
        """Create or replace one."""
        manifest = await _manifest(request, kind)
        if manifest.name != name:
            raise Problem(
                422,
                f"metadata.name is {manifest.name!r}, but the address says {name!r}",
                field="metadata.name",
            )
        response.status_code = 200 if name in _known(api, kind) else 201
        return await _put(api, manifest, dry_run)

    @router.delete("/{name}", status_code=204)
    async def delete(name: str, api: Api) -> None:
        """Remove one. Tasks that wait for a removed model fail after a minute."""
        await api.catalog.delete(kind, name)

    return router


def _known(api: Parts, kind: Kind) -> Mapping[str, ModelManifest] | Mapping[str, PoolManifest]:
    if not api.catalog.complete():
        why = api.catalog.trouble() or "try again in a moment"
        raise Unavailable(f"the models and pools were not read yet: {why}")
    return api.catalog.models() if kind == "CaptionModel" else api.catalog.pools()


def _one(api: Parts, kind: Kind, name: str) -> Manifest:
    found = _known(api, kind)
    if name not in found:
        names = ", ".join(sorted(found)[:30]) or "none yet"
        raise Problem(404, f"there is no {kind} {name!r}; known are {names}")
    return found[name]


async def _put(api: Parts, manifest: Manifest, dry_run: str | None) -> dict[str, Any]:
    if isinstance(manifest, ModelManifest):
        _check_code_is_taken(api, manifest)
    kept = await api.catalog.put(manifest, dry_run=dry_run is not None)
    return kept.as_manifest()


def _check_code_is_taken(api: Parts, model: ModelManifest) -> None:
    """A manifest may bring code too: that is an upload by another door."""
    custom = model.spec.custom
    if not custom or not custom.is_brought:
        return
    there = api.catalog.models().get(model.name)
    refusal = api.settings.code_refusal
    if refusal and (there is None or there.spec.custom != custom):
        raise Problem(403, refusal, field="spec.custom")


async def _manifest(request: Request, kind: Kind) -> Manifest:
    manifest = parse_manifest(_decoded(await request.body(), _is_yaml(request)))
    if manifest.kind != kind:
        raise Problem(422, f"kind is {manifest.kind}; this door takes {kind}", field="kind")
    return manifest


def _is_yaml(request: Request) -> bool:
    return "yaml" in request.headers.get("content-type", "")


def _decoded(body: bytes, is_yaml: bool) -> Any:
    try:
        if is_yaml:
            return yaml.load(body, _PlainLoader)  # noqa: S506 - it is a SafeLoader
        return json.loads(body)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        told = " ".join(str(error).split())[:300]
        hint = "" if is_yaml else "; for YAML send Content-Type: application/yaml"
        raise Problem(422, f"the body is not readable: {told}{hint}") from None


def _body(kind: Kind) -> dict[str, Any]:
    example = {
        "apiVersion": "captionfleet.io/v1alpha1", "kind": kind,
        "metadata": {"name": "example"}, "spec": _EXAMPLES[kind],
    }  # fmt: skip
    content = {"schema": {"type": "object"}, "example": example}
    return {"required": True, "content": {"application/json": content, "application/yaml": content}}
