"""One file from a hub to the cache: resumed, verified, then there at once, by one writer."""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import httpx2
from filelock import FileLock, Timeout
from huggingface_hub import hf_hub_url
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from captionfleet.resources.model import HuggingFaceSource
from captionfleet_worker.fetching.cache import Repository, length
from captionfleet_worker.fetching.listing import File
from captionfleet_worker.fetching.meter import Meter
from captionfleet_worker.fetching.trouble import cut_short, patiently, told, wrong_content

_PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before a cut download is resumed, as long as nothing new comes."""
_LOOK_SECONDS = 0.5
_PIECE = 2**20
_PASSING = {408, 500, 502, 503, 504}
"""Answers of a hub in trouble, which trying again may heal."""


@dataclass(frozen=True)
class Hub:
    """Where files come from."""

    source: HuggingFaceSource
    commit: str
    endpoint: str
    token: str | bool | None
    """As huggingface_hub takes it: False never sends one, None sends the worker's."""

    @property
    def sentence(self) -> str:
        return f"fetching {self.source.repo} at {self.source.revision}"

    def address(self, name: str) -> str:
        return hf_hub_url(self.source.repo, name, revision=self.commit, endpoint=self.endpoint)


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class _WrongContent(Exception):
    """What came is not what the listing promises. The message says how it differs."""


class _Part:
    """What is there of a file, and its digest so far."""

    def __init__(self, file: File, stream: BinaryIO, meter: Meter) -> None:
        """`stream`: the partial, opened to append. What is in it counts, until it is verified."""
        self.file = file
        self.there = 0
        self._stream = stream
        self._meter = meter
        self._digest = _digest_for(file)
        stream.seek(0)
        while piece := stream.read(_PIECE):
            self._digest.update(piece)
            self.there += len(piece)
        meter.at(file.name, self.there)

    def add(self, piece: bytes) -> None:
        """Raises _WrongContent if that is more than promised."""
        if self.there + len(piece) > self.file.size:
            raise _WrongContent(f"more than {self.file.size:,} bytes")
        self._stream.write(piece)
        self._digest.update(piece)
        self.there += len(piece)
        self._meter.received(self.file.name, len(piece))

    def clear(self) -> None:
        self._stream.truncate(0)
        self._digest = _digest_for(self.file)
        self.there = 0
        self._meter.at(self.file.name, 0)

    def check(self) -> None:
        """Raises _WrongContent. A hub that tells no hash is believed in the size."""
        if self.there != self.file.size:
            raise _WrongContent(f"{self.there:,} bytes instead of {self.file.size:,}")
        promised, came = self.file.sha256 or self.file.git_sha1, self._digest.hexdigest()
        if promised and came != promised:
            kind = "sha256" if self.file.sha256 else "git hash"
            raise _WrongContent(f"the {kind} {came[:12]}… instead of {promised[:12]}…")

    def settle(self) -> None:
        """On the disk, whatever happens to the machine."""
        self._stream.flush()
        os.fsync(self._stream.fileno())


def _digest_for(file: File) -> _Digest:
    if file.sha256 is None and file.git_sha1:
        return hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    return hashlib.sha256()


def fetch_file(
    hub: Hub, file: File, repository: Repository, meter: Meter, tell: Callable[[str], None]
) -> None:
    """Have the file in the snapshot. Raises LoadFailed, and errors of TROUBLE."""
    lock = repository.lock(file.key)
    lock.parent.mkdir(parents=True, exist_ok=True)
    writing = FileLock(lock)
    _wait_for(writing, file, repository, meter, tell)
    try:
        if length(repository.blob(file.key)) != file.size:
            _bring(hub, file, repository, meter, tell)
        repository.put(hub.commit, file.name, file.key)
        meter.at(file.name, file.size)
    finally:
        writing.release()


def _wait_for(
    writing: FileLock, file: File, repository: Repository, meter: Meter, tell: Callable[[str], None]
) -> None:
    """Until this process is the file's one writer. Another's progress is shown as ours."""
    while True:
        try:
            writing.acquire(timeout=0)
            return
        except Timeout:
            tell(f"another worker with the same cache fetches {file.name}: waiting for it")
            meter.at(file.name, length(repository.partial(file.key)) or 0)
            time.sleep(_LOOK_SECONDS)


def _bring(
    hub: Hub, file: File, repository: Repository, meter: Meter, tell: Callable[[str], None]
) -> None:
    """The content, whole and verified, in its place. A wrong one is fetched anew once."""
    partial = repository.partial(file.key)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("a+b") as stream:
        part = _Part(file, stream, meter)
        for last in (False, True):
            try:
                _fill(hub, part, tell)
                part.check()
                break
            except _WrongContent as wrong:
                part.clear()
                if last:
                    partial.unlink()
                    raise wrong_content(hub.source, hub.endpoint, file.name, str(wrong)) from None
                tell(f"{file.name} came with {wrong}: fetching it anew")
        part.settle()
    partial.replace(repository.blob(file.key))


def _fill(hub: Hub, part: _Part, tell: Callable[[str], None]) -> None:
    """Ask for the rest until all is there, with growing pauses while nothing new comes."""
    pauses, best = iter(_PAUSES), part.there
    while part.there < part.file.size:
        tell(hub.sentence)
        why = patiently(lambda: _resume(hub, part), tell)
        if part.there == part.file.size:
            return
        if part.there > best:
            pauses, best = iter(_PAUSES), part.there
        pause = next(pauses, None)
        if pause is None:
            raise cut_short(hub.source, hub.endpoint, part.file, part.there, why)
        tell(f"{part.file.name} was cut off ({why}): going on from {part.there / 1e6:,.1f} MB")
        time.sleep(pause)


def _resume(hub: Hub, part: _Part) -> str:
    """Take what comes, and say why it ended. Raises Hurried, and what trying again cannot heal."""
    headers = build_hf_headers(token=hub.token) | {"Accept-Encoding": "identity"}
    if part.there:
        headers["Range"] = f"bytes={part.there}-"
    address = hub.address(part.file.name)
    try:
        with get_session().stream("GET", address, headers=headers) as response:
            if response.status_code in _PASSING:
                return f"the hub answers {response.status_code}"
            if response.status_code == httpx2.codes.RANGE_NOT_SATISFIABLE:
                return "the hub has no more of it"
            hf_raise_for_status(response)
            if part.there and not _goes_on(response, part.there):
                part.clear()  # the whole file comes
            for piece in response.iter_raw():
                part.add(piece)
    except httpx2.TransportError as error:
        return told(error)
    return "the connection was closed"


def _goes_on(response: httpx2.Response, there: int) -> bool:
    """The answer begins where our part ends."""
    begins = response.headers.get("content-range", "").startswith(f"bytes {there}-")
    return response.status_code == httpx2.codes.PARTIAL_CONTENT and begins
