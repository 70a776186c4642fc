"""Where models and pools are read from: the promise that every catalog keeps.

The api, the worker and the planner meet this protocol and never know what is behind it.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from captionfleet.resources import Manifest, ModelManifest, PoolManifest
from captionfleet.resources.base import Resource


class CatalogError(Exception):
    """Something the caller asked of the catalog could not be done; the message says why."""


class NotFound(CatalogError):
    """There is no such resource."""


class Conflict(CatalogError):
    """The resource belongs to somebody else, for example a file that a person wrote."""


class Refused(CatalogError):
    """Whoever keeps the resources does not allow it: rights, a quota, a policy."""


class Unavailable(CatalogError):
    """It cannot be done now; the same may succeed later."""


class Catalog(Protocol):
    """Models and pools with their statuses."""

    def models(self) -> dict[str, ModelManifest]:
        """The accepted models by name, as last seen, status included."""

    def pools(self) -> dict[str, PoolManifest]:
        """The accepted pools by name, as last seen, status included."""

    def problems(self) -> list[str]:
        """Sentences about manifests that were refused, each naming its place, field and remedy."""

    def complete(self) -> bool:
        """Everything was read at least once. Until then absence means nothing."""

    def trouble(self) -> str:
        """Why what is told here may be out of date; empty while it is not."""

    async def watch(self) -> AsyncIterator[None]:
        """Yield once at the start and after every change of a spec or a status."""
        yield

    async def put(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Create or replace a resource. Raises CatalogError, or InvalidManifest."""

    async def put_code(self, model: ModelManifest) -> Manifest:
        """Like put, for a model whose spec.custom.files hold its code: kept where code is kept."""

    async def delete(self, kind: str, name: str) -> None:
        """Raises CatalogError: NotFound if there is none."""

    async def write_status(self, kind: str, name: str, status: Resource) -> None:
        """For the operator alone. A resource that is gone meanwhile is no error."""

    async def close(self) -> None:
        """Let go of whatever is held open."""
