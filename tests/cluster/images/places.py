"""Where the images of the tests are kept between runs, and what decides that they are kept.

CACHE/images/KEY holds everything large. The key is made of what the large layers are made of, so
that a new lock starts anew and the old gigabytes go.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
_LARGE = (
    *(ROOT / f"locks/{name}.txt" for name in ("worker", "api", "operator", "uv")),
    HERE / "debian.py",
    HERE / "python.Containerfile",
)
_GB = 1_000_000_000
COLD_GB, WARM_GB = 24, 3
"""Free disk that is needed: a first build holds the 6 GB of torch three times."""


class NoRoom(Exception):
    """The disk is too small; the message says how much is missing and where."""


@dataclass(frozen=True)
class Places:
    """The folders below CACHE/images/KEY."""

    folder: Path

    @property
    def buildah(self) -> Path:
        """The builder's layers."""
        return self.folder / "buildah"

    @property
    def node(self) -> Path:
        """The folder a node's containerd begins with."""
        return self.folder / "node"

    @property
    def roots(self) -> Path:
        """Debian root file systems; not below the key, they have keys of their own."""
        return self.folder.parent / "roots"

    @property
    def work(self) -> Path:
        """For what lives only while images are built."""
        return self.folder / "work"


def cache_folder() -> Path:
    return Path(os.environ.get("CAPTIONFLEET_CACHE_DIR") or Path.home() / ".cache/captionfleet")


def key() -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in _LARGE)).hexdigest()[:16]


@contextmanager
def held_places() -> Iterator[Places]:
    """The folders, for one builder at a time; those of other keys are removed first."""
    images = cache_folder() / "images"
    places = Places(images / key())
    images.mkdir(parents=True, exist_ok=True)
    with (images / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for other in images.iterdir():
            if other.is_dir() and other not in (places.folder, places.roots):
                shutil.rmtree(other)
        for folder in (places.folder, places.roots):
            folder.mkdir(exist_ok=True)
        shutil.rmtree(places.work, ignore_errors=True)
        places.work.mkdir()
        yield places
        shutil.rmtree(places.work)


def need_room(places: Places, gigabytes: int) -> None:
    free = shutil.disk_usage(places.folder).free
    if free < gigabytes * _GB:
        raise NoRoom(
            f"{places.folder} has {free / _GB:.0f} GB free and {gigabytes} GB are needed to build "
            "the worker image: free some, or let CAPTIONFLEET_CACHE_DIR name a folder on a larger "
            "disk"
        )
