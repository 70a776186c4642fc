"""Weights from a Hugging Face hub: resolve the commit first, then fetch what loading needs.

The hub's own cache is used, so files that a person already has are not fetched again, and a
model whose commit is cached loads without any network. Offline, nothing else loads.
"""

import glob
import urllib.parse
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import httpx2
from huggingface_hub import (
    HfApi,
    ResolvedRevision,
    constants,
    get_cached_repo_tree,
    snapshot_download,
)
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)

from captionfleet.resources.model import HuggingFaceSource
from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.engine.weights import SETTINGS, weight_files

_TROUBLE = (
    HfHubHTTPError, LocalEntryNotFoundError, RevisionResolutionError, httpx2.HTTPError, OSError,
)  # fmt: skip


class Hub:
    """One repository at one revision. `cache` and `offline` as in EngineOrder."""

    def __init__(
        self, source: HuggingFaceSource, cache: Path | None, offline: bool = False
    ) -> None:
        self._source = source
        self._cache = cache
        self._offline = offline or constants.HF_HUB_OFFLINE
        self._endpoint = source.endpoint or constants.ENDPOINT
        # The worker's token is for the worker's hub: whoever writes a manifest must not be able
        # to have it sent to a host of their choice.
        self._token = None if _same_host(self._endpoint, constants.ENDPOINT) else False

    def fetch(
        self,
        allow_pickle: bool,
        everything: bool,
        progress: Callable[[str], None],
        *,
        code: bool = False,
    ) -> tuple[Path, str]:
        """(folder, commit) with the files that loading needs, or all. Raises LoadFailed.

        `code`: loading needs the repository's Python files too.
        """
        name = f"{self._source.repo} at {self._source.revision}"
        progress(f"looking up {name}")
        try:
            api = HfApi(endpoint=self._endpoint, token=self._token)
            commit = api.resolve_revision(
                self._source.repo, revision=self._source.revision, cache_dir=self._cache,
                local_files_only=self._offline,
            )  # fmt: skip
            if self._source.allow_patterns or everything:
                progress(f"fetching {name}")
                return self._snapshot(commit, self._source.allow_patterns), commit.resolved
            progress(f"fetching the settings of {name}")
            folder = self._snapshot(commit, [*SETTINGS, "*.py"] if code else list(SETTINGS))
            weights = weight_files(self._names(commit, folder), allow_pickle, name)
            progress(f"fetching the weights of {name}{self._size(commit, weights)}")
            return self._snapshot(commit, [glob.escape(w) for w in weights]), commit.resolved
        except _TROUBLE as error:
            raise self._failure(error) from error

    def _snapshot(self, commit: ResolvedRevision, patterns: list[str]) -> Path:
        try:
            return Path(
                snapshot_download(
                    self._source.repo,
                    revision=commit,
                    cache_dir=self._cache,
                    endpoint=self._endpoint,
                    token=self._token,
                    allow_patterns=patterns or None,
                    ignore_patterns=self._source.ignore_patterns or None,
                    local_files_only=self._offline,
                )
            )
        except IncompleteSnapshotError as error:
            if not self._offline:
                raise
            folder = Path(error.snapshot_path)
            names = [name for name in self._names(commit, folder) if not (folder / name).exists()]
            lacking = [name for name in names if self._needed(name, patterns)]
            raise self._not_cached(f"it lacks {', '.join(lacking[:3])}") from error

    def _needed(self, name: str, patterns: list[str]) -> bool:
        ignored = any(fnmatch(name, pattern) for pattern in self._source.ignore_patterns)
        return not ignored and any(fnmatch(name, pattern) for pattern in patterns or ["*"])

    def _names(self, commit: ResolvedRevision, folder: Path) -> list[str]:
        """All files of the repository; of a cache filled by older clients, those it holds."""
        try:
            tree = get_cached_repo_tree(self._source.repo, revision=commit, cache_dir=self._cache)
        except CachedRepoTreeNotFoundError:
            return [file.name for file in folder.iterdir()]
        return [file.path for file in tree]

    def _size(self, commit: ResolvedRevision, weights: list[str]) -> str:
        with suppress(CachedRepoTreeNotFoundError):
            tree = get_cached_repo_tree(self._source.repo, revision=commit, cache_dir=self._cache)
            size = sum(file.size for file in tree if file.path in weights)
            return f", {size / 1e6:,.0f} MB"
        return ""

    def _not_cached(self, why: str) -> LoadFailed:
        source = self._source
        return LoadFailed(
            "Offline",
            f"{source.repo} at {source.revision} is not complete in "
            f"{self._cache or constants.HF_HUB_CACHE} ({why}), and this worker asks no hub: load "
            "it once by a worker that does, or turn off spec.hub.offline of the pool "
            "(CAPTIONFLEET_OFFLINE)",
        )

    def _failure(self, error: Exception) -> LoadFailed:
        repo, place = self._source.repo, self._endpoint
        if self._offline and isinstance(error, LocalEntryNotFoundError | RevisionResolutionError):
            return self._not_cached("nothing of this revision is there")
        if isinstance(error, GatedRepoError):
            return LoadFailed(
                "GatedRepo",
                f"{repo} is gated: accept its license at {place}/{repo}, and give the worker a "
                "token of that account in HF_TOKEN",
            )
        if isinstance(error, RevisionNotFoundError):
            return LoadFailed(
                "SourceNotFound",
                f"{repo} has no revision {self._source.revision}: correct "
                "spec.source.huggingFace.revision",
            )
        if isinstance(error, RepositoryNotFoundError):
            return LoadFailed(
                "SourceNotFound",
                f"{place} has no repository {repo}, or it is private: correct "
                "spec.source.huggingFace.repo, or give the worker a token in HF_TOKEN",
            )
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
            return LoadFailed(
                "GatedRepo",
                f"{place} refused {repo} with {error.response.status_code}: give the worker a "
                "token that may read it in HF_TOKEN",
            )
        # Trouble of the network comes without a number, trouble of the disk with one.
        if isinstance(error, OSError) and error.errno is not None:
            return LoadFailed(
                "LoadFailed",
                f"{repo} cannot be stored in {self._cache or constants.HF_HUB_CACHE}: "
                f"{error.strerror}; free space there, or name another folder in CAPTIONFLEET_CACHE",
                retriable=True,
            )
        return LoadFailed(
            "HubUnreachable",
            f"{repo} could not be fetched from {place}, and is not complete in the cache: "
            f"{_first_line(error)}; check the address and the network",
            retriable=True,
        )


def _same_host(one: str, other: str) -> bool:
    return urllib.parse.urlsplit(one)[:2] == urllib.parse.urlsplit(other)[:2]


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
