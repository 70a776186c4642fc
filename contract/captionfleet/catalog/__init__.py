"""Catalogs: where models and pools are read from."""

from captionfleet.catalog.folder import FolderCatalog, read_manifests
from captionfleet.catalog.protocol import Catalog, CatalogError, Conflict, NotFound

__all__ = ["Catalog", "CatalogError", "Conflict", "FolderCatalog", "NotFound", "read_manifests"]
