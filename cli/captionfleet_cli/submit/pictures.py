"""Finds the pictures that a person named: files as they are, folders with all that is below."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from captionfleet.client import Picture
from captionfleet_cli.trouble import Exit, Trouble

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
# What lies beside pictures in a data set. Named by `folder/*`, it is not meant.
COMPANIONS = frozenset(
    {".txt", ".json", ".jsonl", ".csv", ".tsv", ".md", ".yaml", ".yml", ".toml", ".xml", ".parquet"}
)


def check_paths(paths: Iterable[Path]) -> None:
    """Raises Trouble if one is not there."""
    for path in paths:
        if not path.exists():
            raise Trouble(f"there is no file or folder {path}.", Exit.USAGE)


def find_pictures(paths: Iterable[Path]) -> Iterator[Picture]:
    """Pictures in a fixed order. A picture found in a folder is named by its way from there.

    In folders the suffix decides; a file that is named itself is sent whatever it is called, but
    for the companions of pictures.
    """
    for path in paths:
        if path.is_dir():
            yield from _below(path)
        elif path.suffix.lower() not in COMPANIONS:
            yield Picture(path, _shown(path.name))


def left_out(paths: Iterable[Path]) -> list[str]:
    """Names of the files that were named, but are companions of pictures."""
    return [p.name for p in paths if p.suffix.lower() in COMPANIONS and not p.is_dir()]


def file_sha256(path: Path) -> str:
    """The id that the server gives this picture."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def default_name(paths: list[Path]) -> str:
    """A job's name: the folder that was named, or in which the named files lie."""
    places = dict.fromkeys(
        path.resolve() if path.is_dir() else path.resolve().parent for path in paths
    )
    names = [place.name or "pictures" for place in places]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _below(folder: Path) -> Iterator[Picture]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            if path.suffix.lower() in PICTURES and not name.startswith("."):
                yield Picture(path, _shown(path.relative_to(folder).as_posix()))


def _shown(name: str) -> str:
    """As the server will call it: on one line, of characters that can be shown."""
    return "".join(c if c.isprintable() else " " for c in name).strip()
