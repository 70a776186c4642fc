"""A catalog that is the Kubernetes API: the models and pools of one namespace.

Reads come from a mirror that lists and watches keep; while the API server is away the mirror stays
as it was last seen. Writes are server-side applies under our own field manager.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

import structlog

from captionfleet.catalog.kubernetes_api import KubernetesAPI, path_of
from captionfleet.catalog.kubernetes_code import (
    code_map,
    make_map,
    map_name,
    referring,
    remove_old_maps,
)
from captionfleet.catalog.kubernetes_errors import GONE, KubernetesError
from captionfleet.catalog.kubernetes_keeper import keeper_of, leftovers
from captionfleet.catalog.kubernetes_mirror import ManifestMirror, manifest_of
from captionfleet.catalog.kubernetes_words import in_words, trouble_sentence
from captionfleet.catalog.protocol import CatalogError, Conflict, NotFound
from captionfleet.resources import (
    API_VERSION,
    KINDS,
    Manifest,
    ModelManifest,
    PoolManifest,
    parse_manifest,
)
from captionfleet.resources.base import Resource
from captionfleet.resources.manifest import as_written

log = structlog.get_logger()

API_MANAGER: Final = "captionfleet-api"
OPERATOR_MANAGER: Final = "captionfleet-operator"
_PLURALS = {"CaptionModel": "captionmodels", "CaptionWorkerPool": "captionworkerpools"}
_LONGEST_PAUSE = 10.0
_BETWEEN_WATCHES = 0.5


class KubernetesCatalog:
    """See Catalog. Whoever has its own watches feeds `see` and `see_all` instead of `watch`."""

    def __init__(self, namespace: str, api: KubernetesAPI | None = None) -> None:
        self.namespace = namespace
        self._api = api
        self._connecting = asyncio.Lock()
        self._mirror = ManifestMirror()
        self._troubles = dict.fromkeys(KINDS, "")
        self._changed = asyncio.Event()

    def models(self) -> dict[str, ModelManifest]:
        return self._mirror.models()

    def pools(self) -> dict[str, PoolManifest]:
        return self._mirror.pools()

    def problems(self) -> list[str]:
        return self._mirror.problems()

    def complete(self) -> bool:
        return self._mirror.complete()

    def trouble(self) -> str:
        return next(filter(None, self._troubles.values()), "")

    async def watch(self) -> AsyncIterator[None]:
        following = [asyncio.create_task(self._follow(kind)) for kind in KINDS]
        for task in following:
            task.add_done_callback(lambda _: self._changed.set())
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                for task in following:
                    if task.done():
                        task.result()
                yield
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)

    def see(self, event_type: str, body: Mapping[str, Any]) -> None:
        """One event of a watch: ADDED, MODIFIED or DELETED, and the whole object."""
        if self._mirror.see(event_type, body):
            self._changed.set()

    def see_all(self, kind: str, items: Iterable[Mapping[str, Any]], version: str) -> None:
        """A whole list of one kind, and the resource version it was read at."""
        if self._mirror.see_all(kind, items, version):
            self._changed.set()

    async def put(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        kind, name = manifest.kind, manifest.name
        # Judged here first, so that refusals read the same as in a folder.
        manifest = parse_manifest(manifest.as_manifest(), self._mirror.get(kind, name))
        document = as_written(manifest)
        path = self._path(kind, name)
        with in_words(kind, name):
            api = await self._connected()
            _check_ours(kind, name, await api.get(path), "change it there")
            body = await api.apply(path, document, manager=API_MANAGER, dry_run=dry_run)
            if not dry_run and (old := leftovers(body["spec"], document["spec"])):
                body = await api.patch(path, {"spec": old}, manager=API_MANAGER)
        if not dry_run:
            self.see("MODIFIED", body)
        return manifest_of(body)

    async def put_code(self, model: ModelManifest) -> Manifest:
        """The code goes into an immutable ConfigMap, which the model owns and names."""
        there = self._mirror.models().get(model.name)
        name = map_name(model, there)
        if there is None:
            return await self._create_with_code(model, name)
        await self._make_map(name, model, there)
        kept = await self.put(referring(model, name))
        # Whoever reads the spec before this one still finds its code.
        await remove_old_maps(await self._connected(), self.namespace, there, name)
        return kept

    async def _create_with_code(self, model: ModelManifest, name: str) -> Manifest:
        """Only what is there can own: for a moment the model lacks its code."""
        kept = await self.put(referring(model, name))
        try:
            await self._make_map(name, model, kept)
        except CatalogError:
            with contextlib.suppress(CatalogError):
                await self.delete(model.kind, model.name)
            raise
        return kept

    async def _make_map(self, name: str, model: ModelManifest, owner: Manifest) -> None:
        with in_words("ConfigMap", name):
            await make_map(await self._connected(), self.namespace, code_map(name, model, owner))

    async def delete(self, kind: str, name: str) -> None:
        path = self._path(kind, name)
        with in_words(kind, name):
            api = await self._connected()
            _check_ours(kind, name, await api.get(path), "remove it there")
            if not await api.delete(path):
                raise NotFound(f"there is no {kind} named {name}")
        self._mirror.forget(kind, name)
        self._changed.set()

    async def write_status(self, kind: str, name: str, status: Resource) -> None:
        document = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name},
            "status": status.as_manifest(),
        }
        path = self._path(kind, name, "status")
        with contextlib.suppress(NotFound), in_words(kind, name):
            api = await self._connected()
            self.see("MODIFIED", await api.apply(path, document, manager=OPERATOR_MANAGER))

    async def close(self) -> None:
        if self._api:
            await self._api.close()

    async def _connected(self) -> KubernetesAPI:
        async with self._connecting:
            if self._api is None:
                self._api = await KubernetesAPI.connect()
            return self._api

    def _path(self, kind: str, name: str | None = None, subresource: str | None = None) -> str:
        return path_of(API_VERSION, _PLURALS[kind], self.namespace, name, subresource)

    async def _follow(self, kind: str) -> None:
        """Until cancelled. Whatever goes wrong, it begins anew with a whole list."""
        failures = 0
        while True:
            try:
                async for _ in self._news(kind):
                    failures = 0
            except KubernetesError as error:
                if error.status != GONE:
                    self._tell(kind, trouble_sentence(_PLURALS[kind], error))
                failures += 1
            await asyncio.sleep(_pause(failures))

    async def _news(self, kind: str) -> AsyncIterator[None]:
        """Lists, then watches; yields after each thing seen. Ends only by an error."""
        api = await self._connected()
        listed = await api.list(self._path(kind))
        version = listed["metadata"]["resourceVersion"]
        self.see_all(kind, listed["items"], version)
        self._tell(kind, "")
        while True:
            async for event in api.watch(self._path(kind), version):
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self.see(event["type"], event["object"])
                yield
            # The server ends a watch now and then: go on where it ended.
            await asyncio.sleep(_BETWEEN_WATCHES)

    def _tell(self, kind: str, trouble: str) -> None:
        if trouble and not self._troubles[kind]:
            log.warning("the catalog cannot be read; tried again", why=trouble)
        if trouble != self._troubles[kind]:
            self._troubles[kind] = trouble
            self._changed.set()


def _check_ours(kind: str, name: str, body: Mapping[str, Any] | None, remedy: str) -> None:
    if body is None:
        return
    if keeper := keeper_of(body, API_MANAGER):
        raise Conflict(f"{kind} {name} is kept by {keeper}: {remedy}")
    if body["metadata"].get("deletionTimestamp"):
        raise Conflict(f"{kind} {name} is being deleted: try again when it is gone")


def _pause(failures: int) -> float:
    longest: float = min(0.5 * 2**failures, _LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311
