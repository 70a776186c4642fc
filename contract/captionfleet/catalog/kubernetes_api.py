"""A thin client of the Kubernetes API: paths in, plain documents out.

It adds to a session: at most 32 requests at once, time-outs, and bounded repeats of what may be
repeated. Every write goes through one method, where fault tests count.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from captionfleet.catalog.kubernetes_access import NoAccess
from captionfleet.catalog.kubernetes_errors import GONE, UNREACHABLE, KubernetesError, error_of
from captionfleet.catalog.kubernetes_session import KubernetesSession
from captionfleet.faults import count_write

if TYPE_CHECKING:
    from aiohttp import ClientResponse

__all__ = ["KubernetesAPI", "KubernetesError", "path_of"]

Document = dict[str, Any]

_AT_ONCE = 32
_PAGE = 500
_REQUEST_SECONDS = 30.0
# Bookmarks come once a minute: a watch that is silent for longer is dead.
_WATCH_SILENCE_SECONDS = 90.0
_WATCH_SECONDS = 300
_REPEATS = 4
_LONGEST_PAUSE = 10.0
_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


def path_of(
    api_version: str,
    plural: str,
    namespace: str | None = None,
    name: str | None = None,
    subresource: str | None = None,
) -> str:
    """`/apis/apps/v1/namespaces/NS/deployments/NAME/status`, and whatever is shorter."""
    parts = ["apis" if "/" in api_version else "api", api_version]
    if namespace:
        parts += ["namespaces", quote(namespace, safe="")]
    parts += [plural, *(quote(part, safe=":") for part in (name, subresource) if part)]
    return "/" + "/".join(parts)


class KubernetesAPI:
    """One connection, for one program, for as long as it runs."""

    def __init__(self, session: KubernetesSession) -> None:
        self._session = session
        self._room = asyncio.Semaphore(_AT_ONCE)

    @classmethod
    async def connect(cls) -> "KubernetesAPI":
        """Find address and credentials; nothing is sent yet. Raises KubernetesError."""
        # Watches live long and do not count as requests: they have connections of their own.
        return cls(await KubernetesSession.open(connections=2 * _AT_ONCE))

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str) -> Document | None:
        """The document, or None if there is none."""
        try:
            return await self._request("GET", path, {})
        except KubernetesError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, path: str, **query: str) -> Document:
        """The whole List document, fetched in pages that show one moment."""
        items: list[Document] = []
        follows = ""
        while True:
            page = {**query, "limit": str(_PAGE)} | ({"continue": follows} if follows else {})
            try:
                document = await self._request("GET", path, page)
            except KubernetesError as error:
                if error.status != GONE or not follows:
                    raise
                items, follows = [], ""  # that moment is forgotten: begin again
                continue
            items += document.get("items") or ()
            follows = document["metadata"].get("continue") or ""
            if not follows:
                return {**document, "items": items}

    async def watch(
        self, path: str, resource_version: str, **query: str
    ) -> AsyncIterator[Document]:
        """Raw events {type, object}, bookmarks included, until the server ends the stream.

        Raises KubernetesError: 410 if the version is too old, 0 if the connection broke.
        """
        asked = {
            **query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(random.randrange(_WATCH_SECONDS, 2 * _WATCH_SECONDS)),  # noqa: S311
        }
        async with self._session.answer(
            "GET", path, asked, seconds=None, silence=_WATCH_SILENCE_SECONDS
        ) as answer:
            async for line in _lines(answer):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise error_of(500, event["object"])
                yield event

    async def apply(
        self,
        path: str,
        manifest: Mapping[str, Any],
        *,
        manager: str,
        force: bool = True,
        dry_run: bool = False,
    ) -> Document:
        """Server-side apply: create, or change what this manager owns. The answer is the object."""
        query = {"fieldManager": manager, "force": str(force).lower(), **_strict(dry_run)}
        kind = "application/apply-patch+yaml"
        return await self._write("PATCH", path, query, manifest, kind, repeatable=True)

    async def patch(self, path: str, body: Any, *, manager: str, kind: str = "merge") -> Document:
        """`kind`: merge, json or strategic. A JSON patch is a list, and not repeated blindly."""
        query = {"fieldManager": manager, **_strict()}
        return await self._write(
            "PATCH", path, query, body, _PATCH_TYPES[kind], repeatable=kind != "json"
        )

    async def create(self, path: str, body: Mapping[str, Any]) -> Document:
        """POST to the path of the collection."""
        return await self._write("POST", path, _strict(), body)

    async def replace(self, path: str, body: Mapping[str, Any]) -> Document:
        """PUT; with metadata.resourceVersion only if nobody changed it since."""
        return await self._write("PUT", path, _strict(), body)

    async def delete(self, path: str, *, propagation: str = "Background") -> bool:
        """False if there was nothing."""
        query = {"propagationPolicy": propagation}
        try:
            await self._write("DELETE", path, query, repeatable=True)
        except KubernetesError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def _write(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any = None,
        content_type: str = "application/json",
        *,
        repeatable: bool = False,
    ) -> Document:
        """Every change of the cluster passes here once, however often it is repeated."""
        if "dryRun" in query:
            return await self._request(method, path, query, body, content_type)
        count_write("before")
        done = await self._request(method, path, query, body, content_type, repeatable=repeatable)
        count_write("after")
        return done

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any = None,
        content_type: str = "application/json",
        *,
        repeatable: bool = True,
    ) -> Document:
        deadline = time.monotonic() + _REQUEST_SECONDS
        repeat = 0
        while True:
            try:
                return await self._once(method, path, query, body, content_type)
            except KubernetesError as error:
                pause = pause_before(error, repeat, repeatable=repeatable)
                if pause is None or repeat == _REPEATS or time.monotonic() + pause > deadline:
                    raise
                if error.status == 401:
                    await self._renew(error)
            repeat += 1
            await asyncio.sleep(pause)

    async def _once(self, method: str, path: str, *request: Any) -> Document:
        async with (
            self._room,
            self._session.answer(method, path, *request, seconds=_REQUEST_SECONDS) as answer,
        ):
            document: Document = json.loads(await answer.read())
            return document

    async def _renew(self, refused: KubernetesError) -> None:
        try:
            await self._session.renew()
        except NoAccess:
            raise refused from None


def pause_before(error: KubernetesError, repeat: int, *, repeatable: bool) -> float | None:
    """Seconds until a request that failed may be sent again; None if it must not be."""
    if error.status == 401:
        return 0.0 if repeat == 0 else None
    unsure = error.status == UNREACHABLE or error.status >= 500
    if error.status != 429 and error.sent and not (repeatable and unsure):
        return None
    pause: float = 0.2 * 2**repeat * random.uniform(0.5, 1.5)  # noqa: S311
    return min(max(pause, error.retry_after or 0.0), _LONGEST_PAUSE)


def _strict(dry_run: bool = False) -> dict[str, str]:
    """An unknown field is an error: one that is silently dropped lies."""
    return {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})


async def _lines(answer: "ClientResponse") -> AsyncIterator[bytes]:
    """Lines of any length: an object may be larger than any buffer."""
    rest = b""
    async for chunk in answer.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
