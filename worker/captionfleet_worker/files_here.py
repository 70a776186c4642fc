"""Whether a model's files are on this worker, told from its spec without loading anything."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from captionfleet.resources import ModelSpec
from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.fetching.cache import Repository
from captionfleet_worker.fetching.needs import needed
from captionfleet_worker.fetching.order import CacheRules, FetchOrder


class FilesHere:
    """Looks into the cache at `folder`, and again only at what has changed there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[tuple[str, Path, int], bool] = {}

    def all_of(self, fingerprint: str, spec: Mapping[str, Any], code_found: bool) -> bool:
        """`spec`: a ModelSpec in manifest form, and its fingerprint. `code_found`: its custom
        class, if it has one, is in this worker's folder."""
        if spec.get("custom") and not code_found:
            return False
        source = spec.get("source") or {}
        if volume := source.get("volume"):
            return Path(volume["path"]).is_dir()
        if hub := source.get("huggingFace"):
            return self._fetched(fingerprint, spec, hub["repo"], hub.get("revision", "main"))
        return bool(spec.get("custom"))

    def look_again(self) -> None:
        """Something was fetched or removed."""
        self._seen.clear()

    def _fetched(self, key: str, spec: Mapping[str, Any], repo: str, revision: str) -> bool:
        repository = Repository(self._folder, repo)
        commit = repository.commit(revision)
        if commit is None:
            return False
        folder = repository.snapshot(commit)
        try:
            seen = (key, folder, folder.stat().st_mtime_ns)
        except OSError:
            return False
        if seen not in self._seen:
            self._seen[seen] = _is_whole(spec, repository, commit)
        return self._seen[seen]


def hub_repository(spec: Mapping[str, Any]) -> str | None:
    """OWNER/NAME of a spec in manifest form; None for a model that is on no hub."""
    repo: str | None = ((spec.get("source") or {}).get("huggingFace") or {}).get("repo")
    return repo


def _is_whole(spec: Mapping[str, Any], repository: Repository, commit: str) -> bool:
    """What a cut download left is not."""
    folder = repository.snapshot(commit)
    sizes = repository.listed(commit)
    names = [each.name for each in folder.iterdir()] if sizes is None else list(sizes)
    try:
        order = FetchOrder.of(ModelSpec.model_validate(spec), CacheRules())
        wanted = needed(names, order)
    except (LoadFailed, ValidationError):
        return False
    if sizes is None:
        return bool(wanted) and all((folder / name).exists() for name in wanted)
    return bool(wanted) and all(repository.has(commit, name, sizes[name]) for name in wanted)
