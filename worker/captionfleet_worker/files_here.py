"""Whether a model's files are on this worker, told from its spec without loading anything."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def files_here(spec: Mapping[str, Any], cache: Path | None, code_found: bool) -> bool:
    """`spec`: a ModelSpec in manifest form. `cache`: folder of downloads, None = the hub's own.

    `code_found`: its custom class, if it has one, is in this worker's folder.
    """
    if spec.get("custom") and not code_found:
        return False
    source = spec.get("source") or {}
    if volume := source.get("volume"):
        return Path(volume["path"]).is_dir()
    if hub := source.get("huggingFace"):
        return _snapshot_here(hub["repo"], hub.get("revision", "main"), cache or _hub_cache())
    return bool(spec.get("custom"))


def _snapshot_here(repo: str, revision: str, cache: Path) -> bool:
    """The layout of a Hugging Face cache: refs name commits, snapshots hold their files."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    try:
        commit = (folder / "refs" / revision).read_text().strip()
    except OSError:
        commit = revision
    return (folder / "snapshots" / commit / "config.json").exists()


def _hub_cache() -> Path:
    if named := os.environ.get("HF_HUB_CACHE"):
        return Path(named)
    if home := os.environ.get("HF_HOME"):
        return Path(home) / "hub"
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "huggingface" / "hub"
