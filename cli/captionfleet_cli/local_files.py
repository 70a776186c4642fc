"""What the CLI remembers on this machine, in $XDG_STATE_HOME/captionfleet.

Where the pictures of a submitted job lie (for sidecars), and where local installations keep their
data (for logs). A convenience only: whatever is missing can be named by a flag.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_KEPT_JOBS = 100


def state_folder() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "captionfleet"


def remember_installation(url: str, data: Path) -> None:
    with contextlib.suppress(OSError):  # no home to write to: --data does the same
        file = _installation_file(url)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(data))


def installation_data(url: str) -> Path | None:
    """The data folder of the installation that was last started at this address here."""
    try:
        return Path(_installation_file(url).read_text())
    except OSError:
        return None


def remember_sources(job: str, sources: Iterable[tuple[str, str, Path]]) -> bool:
    """Note where the pictures of a job lie: (image id, filename, path). False if it cannot be."""
    try:
        file = _sources_file(job)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as out:
            for image, filename, path in sources:
                out.write(json.dumps([image, filename, str(path.resolve())]) + "\n")
        _forget_oldest(file.parent)
    except OSError:
        return False
    return True


def sources(job: str) -> dict[tuple[str, str], list[Path]]:
    """(image id, filename) -> where it lies. Several places if it was submitted from several."""
    found: dict[tuple[str, str], list[Path]] = {}
    with contextlib.suppress(FileNotFoundError):
        for image, filename, path in _lines(_sources_file(job)):
            found.setdefault((image, filename), []).append(Path(path))
    return found


def _lines(file: Path) -> Iterator[list[str]]:
    with file.open() as lines:
        for line in lines:
            with contextlib.suppress(ValueError):  # a line cut short by a crash
                yield json.loads(line)


def _forget_oldest(folder: Path) -> None:
    newest_first = sorted(folder.glob("*.jsonl"), key=lambda f: f.stat().st_mtime, reverse=True)
    for file in newest_first[_KEPT_JOBS:]:
        file.unlink(missing_ok=True)


def _sources_file(job: str) -> Path:
    return state_folder() / "jobs" / f"{_safe(job)}.jsonl"


def _installation_file(url: str) -> Path:
    return state_folder() / "installations" / _safe(url.rstrip("/"))


def _safe(text: str) -> str:
    """A name for a file, whatever the text is."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", text)
