"""What a repository holds at a commit, as its hub tells it."""

import hashlib
import re
from dataclasses import dataclass

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile

from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.fetching.cache import stays_inside

_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """One file of a repository."""

    name: str
    size: int
    sha256: str | None = None
    """Of its bytes, where the hub tells it: for large files."""
    git_sha1: str | None = None
    """Of its bytes as a git blob, for the others."""

    @property
    def key(self) -> str:
        """What its content is known by in the cache: the same as huggingface_hub's."""
        unknown = hashlib.sha256(f"{self.name} {self.size}".encode()).hexdigest()
        return self.sha256 or self.git_sha1 or unknown


def asked_listing(api: HfApi, repo: str, commit: str) -> list[File]:
    """As the hub tells it. Raises LoadFailed for names that are none, and the library's errors."""
    tree = api.list_repo_tree(repo, recursive=True, revision=commit)
    return [_file(repo, each) for each in tree if isinstance(each, RepoFile)]


def _file(repo: str, entry: RepoFile) -> File:
    """A hub may be anybody's: what it names becomes a path here."""
    if not stays_inside(entry.path):
        raise LoadFailed("WrongContent", f"{repo} names a file {entry.path!r}: it is not fetched")
    if entry.lfs and _SHA256.fullmatch(entry.lfs.sha256):
        return File(entry.path, entry.size, sha256=entry.lfs.sha256)
    return File(entry.path, entry.size, git_sha1=_if_hash(entry.blob_id))


def _if_hash(told: str) -> str | None:
    return told if _SHA1.fullmatch(told) else None
