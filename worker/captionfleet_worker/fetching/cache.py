"""The layout of a Hugging Face cache, as far as a worker reads and writes it itself.

models--OWNER--NAME/refs/REVISION          a commit
models--OWNER--NAME/snapshots/COMMIT/FILE  links into
models--OWNER--NAME/blobs/KEY              contents; KEY is their hash, .incomplete = a part
.locks/models--OWNER--NAME/KEY.lock        held by the one writer of that content
"""

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock

_COMMIT = re.compile(r"[0-9a-f]{40}")
_PREFIX = "models--"
OURS = ".captionfleet"
"""Folder in the cache for what the workers keep there beside models."""


@dataclass(frozen=True)
class Repository:
    """One repository's folder in a cache."""

    cache: Path
    name: str
    """OWNER/NAME."""

    @property
    def folder(self) -> Path:
        return self.cache / folder_name(self.name)

    def commit(self, revision: str) -> str | None:
        """The commit that a revision meant when it was looked up last."""
        if is_commit(revision):
            return revision
        if not stays_inside(revision):
            return None
        try:
            found = (self.folder / "refs" / revision).read_text().strip()
        except (OSError, ValueError):
            return None
        return found if is_commit(found) else None

    def snapshot(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def blob(self, key: str) -> Path:
        return self.folder / "blobs" / key

    def partial(self, key: str) -> Path:
        """What is there of a content that is not whole yet."""
        return self.folder / "blobs" / f"{key}.incomplete"

    def lock(self, key: str) -> Path:
        return self.cache / ".locks" / folder_name(self.name) / f"{key}.lock"

    def listed(self, commit: str) -> dict[str, int] | None:
        """Sizes of all files of a commit, as noted by whoever fetched it; None if nobody did."""
        note = self.folder / "trees" / f"{commit}.json"
        try:
            files = json.loads(note.read_text())["files"]
            return {name: file["size"] for name, file in files.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def has(self, commit: str, name: str, size: int) -> bool:
        """The file is there, and no part of it was lost."""
        return length(self.snapshot(commit) / name) == size

    def put(self, commit: str, name: str, key: str) -> None:
        """Make a whole blob appear as a file of the snapshot."""
        pointer = self.snapshot(commit) / name
        pointer.parent.mkdir(parents=True, exist_ok=True)
        beside = pointer.with_name(f"{pointer.name}.{uuid.uuid4().hex[:8]}")
        try:
            beside.symlink_to(os.path.relpath(self.blob(key), pointer.parent))
            beside.replace(pointer)
        except OSError:  # a disk without links
            beside.unlink(missing_ok=True)
            self.blob(key).replace(pointer)

    def size(self) -> int:
        """Bytes on the disk; links count nothing."""
        total = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):  # it was just renamed or removed
                    total += (Path(folder) / name).lstat().st_blocks * 512
        return total

    def remove(self) -> None:
        """Gone at once for whoever looks, and then from the disk."""
        leaving = self.cache / OURS / "leaving" / uuid.uuid4().hex
        leaving.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.folder.replace(leaving)
        except FileNotFoundError:
            return
        shutil.rmtree(leaving, ignore_errors=True)


def is_commit(named: str) -> bool:
    """It names a commit, and so one folder of snapshots."""
    return _COMMIT.fullmatch(named) is not None


def stays_inside(named: str) -> bool:
    """What others named leads to a place below the folder that it is put into."""
    path = PurePosixPath(named)
    return bool(path.parts) and not path.is_absolute() and not {"..", "\0"} & {*path.parts, *named}


@contextmanager
def to_ourselves(cache: Path) -> Iterator[None]:
    """Nothing is removed from a shared cache while another worker begins to use it.

    Raises OSError where the cache cannot be written to.
    """
    place = cache / OURS
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / "lock"):
        yield


def length(file: Path) -> int | None:
    """Bytes of a file, of what a link leads to; None if there is none."""
    try:
        return file.stat().st_size
    except OSError:
        return None


def folder_name(repo: str) -> str:
    return _PREFIX + repo.replace("/", "--")


def repositories(cache: Path) -> list[Repository]:
    """All that are in the cache."""
    if not cache.is_dir():
        return []
    names = sorted(f.name for f in cache.iterdir() if f.name.startswith(_PREFIX) and f.is_dir())
    return [Repository(cache, name.removeprefix(_PREFIX).replace("--", "/", 1)) for name in names]


def persons_cache(environment: Mapping[str, str]) -> Path:
    """Where huggingface_hub keeps what a person downloads."""
    if named := environment.get("HF_HUB_CACHE"):
        return Path(named)
    if home := environment.get("HF_HOME"):
        return Path(home) / "hub"
    caches = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "~")) / ".cache"
    return Path(caches).expanduser() / "huggingface" / "hub"
