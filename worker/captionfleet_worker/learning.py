"""What a copy learns about its batches while it works, and keeps for its next life here.

What to conclude is decided in batch_size; this holds it, by options, and on disk.
"""

import contextlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from captionfleet_worker.batch_size import Known, allowed, next_size, noted, prefetch, shortened

log = structlog.get_logger()

_MOST_KEPT = 2000
_MOST_OPTIONS = 50
_DEFAULTS = "{}"


@dataclass(frozen=True)
class _Kept:
    about: str
    known: Known


_FILE = TypeAdapter(_Kept)


@dataclass(frozen=True)
class KeptSizes:
    """A folder with a file per thing that was learned about. Workers may share it: files are
    replaced as a whole, each for one about(). Machines that it does not tell apart, those whose
    processors have the same name, share one: the last to write is heard."""

    folder: Path
    own: Path | None = None
    """A folder of this worker's own, for when the other one cannot be written to."""

    def read(self, about: str) -> Known:
        """What was written last; nothing known if there is no such file, or no sense in it."""
        known: dict[float, Known] = {}
        for file in self._files(about):
            with contextlib.suppress(OSError, ValidationError):
                known[file.stat().st_mtime] = _FILE.validate_json(file.read_bytes()).known
        return known[max(known)] if known else Known()

    def write(self, about: str, known: Known) -> None:
        """Disks that refuse are logged: captions matter more."""
        content, why = _FILE.dump_json(_Kept(about, known)), ""
        for file in self._files(about):
            try:
                _write(file, content)
                return
            except OSError as error:
                why = str(error)
        log.warning("batch sizes not kept", about=about, why=why)

    def forget_oldest(self) -> None:
        """Looks at each file, which takes its time over a network."""
        for folder in self._folders():
            with contextlib.suppress(OSError):
                files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
                for file in files[:-_MOST_KEPT]:
                    file.unlink(missing_ok=True)

    def _files(self, about: str) -> list[Path]:
        name = f"{sha256(about.encode()).hexdigest()[:32]}.json"
        return [folder / name for folder in self._folders()]

    def _folders(self) -> list[Path]:
        return list(dict.fromkeys(folder for folder in (self.folder, self.own) if folder))


def _write(file: Path, content: bytes) -> None:
    # Not by the process id, which is 1 in each container that shares the folder.
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        fresh.write_bytes(content)
        fresh.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise


class Learning:
    """Of one copy. `most`: what its manifest allows; `about`: the model and the machine.

    `own_memory`: the device has memory of its own, so a batch that did not fit will not fit in
    the next life either. On a CPU it did not fit into what others left at that moment.
    """

    def __init__(self, most: int, kept: KeptSizes, about: str, *, own_memory: bool = True) -> None:
        self._stated = most
        self._most = most
        self._own_memory = own_memory
        self._kept = kept
        self._about = about
        known = kept.read(about)
        self._known = {_DEFAULTS: known if own_memory else replace(known, safe=None)}

    def size(self, options: Mapping[str, Any]) -> int:
        """Most pictures of the next batch with these options."""
        return min(next_size(self._of(_key(options)), self._most), self.allowed)

    @property
    def prefetch(self) -> int:
        return prefetch(self._known[_DEFAULTS], self._most)

    @property
    def allowed(self) -> int:
        """Most pictures of any batch: what the manifest says, or memory."""
        return allowed(self._known[_DEFAULTS], self._most)

    @property
    def chosen(self) -> int | None:
        """The best size with the model's own options, once it is known."""
        return self._known[_DEFAULTS].chosen

    def note(self, options: Mapping[str, Any], size: int, rate: float) -> None:
        """A full batch ran right behind another, at `rate` pictures per second."""
        key = _key(options)
        before = self._of(key)
        after = noted(before, self._most, size, rate)
        if len(self._known) > _MOST_OPTIONS:
            self._known = {_DEFAULTS: self._known[_DEFAULTS]}
        self._known[key] = after
        # With less memory than there may be tomorrow another size is the best.
        whole = self._most == self._stated
        if key == _DEFAULTS and whole and after.chosen != before.chosen:
            self._kept.write(self._about, after)

    def limit(self, options: Mapping[str, Any], safe: int) -> None:
        """The engine found, with these options, that memory allows no more than `safe` pictures.

        That holds for all options, as the engine heeds it for all. It is kept for the next life
        only if it will be true there, and was found with the model's own options: 16 beams of one
        job say nothing about others.
        """
        if safe >= self.allowed:
            return
        log.warning("batches are smaller for want of memory", about=self._about, size=safe)
        if self._own_memory and _key(options) == _DEFAULTS:
            shorter = shortened(self._known[_DEFAULTS], self._most, safe)
            self._known[_DEFAULTS] = shorter
            self._kept.write(self._about, shorter)
        else:
            self._most = safe

    def doubt(self, size: int) -> None:
        """A batch of `size` ended its engine, as one does for which memory is short.

        Whoever ends processes by hand looks the same, so the next life may try again.
        """
        self._most = min(self._most, (size + 1) // 2)
        log.warning("batches are smaller after one was killed", about=self._about, size=self._most)

    def _of(self, key: str) -> Known:
        """Options not met before begin with what is known of the model's own."""
        return self._known.get(key) or self._known[_DEFAULTS]


def about(revision: str, device: str, threads: int) -> str:
    """What is learned is true of one model on one kind of machine."""
    return f"{revision} on {device} with {threads} threads"


def _key(options: Mapping[str, Any]) -> str:
    return json.dumps(options, sort_keys=True)
