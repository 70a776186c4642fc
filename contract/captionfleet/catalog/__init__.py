"""Catalogs: where models and pools are read from. Who needs the one on Kubernetes imports it."""

from captionfleet.catalog.folder import FolderCatalog, read_manifests
from captionfleet.catalog.protocol import (
    Catalog,
    CatalogError,
    Conflict,
    NotFound,
    Refused,
    Unavailable,
)

__all__ = [
    "Catalog",
    "CatalogError",
    "Conflict",
    "FolderCatalog",
    "NotFound",
    "Refused",
    "Unavailable",
    "read_manifests",
]
