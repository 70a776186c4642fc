"""What goes wrong between a fetcher and a hub, in words for people; and when to ask again."""

import email.utils
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx2
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)
from huggingface_hub.utils import parse_ratelimit_headers

from captionfleet.resources.model import HuggingFaceSource
from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.fetching.listing import File

TROUBLE = (
    HfHubHTTPError, LocalEntryNotFoundError, RevisionResolutionError, httpx2.HTTPError, OSError,
)  # fmt: skip
_MOST_PAUSES = 5
_LONGEST_PAUSE_SECONDS = 600
_DEFAULT_PAUSE_SECONDS = 10.0


T = TypeVar("T")


class Hurried(Exception):
    """The hub answered 429. `seconds`: how long it wants to be left alone."""

    def __init__(self, host: str, seconds: float) -> None:
        super().__init__(f"{host} answers 429, too many requests")
        self.host = host
        self.seconds = seconds


def refuse_hurry(response: httpx2.Response) -> None:
    """Hook of the client: raises Hurried, so that a pause is told and not slept through."""
    if response.status_code == 429:
        raise Hurried(response.request.url.host, asked_pause(response.headers, time.time()))


def asked_pause(headers: httpx2.Headers, now: float) -> float:
    """Seconds, from the headers Retry-After (a number or a date) or RateLimit."""
    asked = headers.get("retry-after", "").strip()
    if asked.isdigit():
        return float(asked)
    if when := email.utils.parsedate_tz(asked):
        return max(0.0, email.utils.mktime_tz(when) - now)
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit else _DEFAULT_PAUSE_SECONDS


def patiently(call: Callable[[], T], tell: Callable[[str], None]) -> T:
    """The result of `call`, after the pauses that the hub asks for. Raises LoadFailed."""
    for _ in range(_MOST_PAUSES):
        try:
            return call()
        except Hurried as hurried:
            if hurried.seconds > _LONGEST_PAUSE_SECONDS:
                raise _too_busy(hurried) from hurried
            at = time.strftime("%H:%M:%S UTC", time.gmtime(time.time() + hurried.seconds))
            tell(f"{hurried}, and asks for a pause of {hurried.seconds:.0f} s: going on at {at}")
            time.sleep(hurried.seconds)
    try:
        return call()
    except Hurried as hurried:
        raise _too_busy(hurried) from hurried


def _too_busy(hurried: Hurried) -> LoadFailed:
    return LoadFailed(
        "HubBusy",
        f"{hurried} and asks for a pause of {hurried.seconds:.0f} s: a token in HF_TOKEN raises "
        "its limit",
        retriable=True,
    )


def not_cached(source: HuggingFaceSource, cache: Path, why: str) -> LoadFailed:
    return LoadFailed(
        "Offline",
        f"{source.repo} at {source.revision} is not complete in {cache} ({why}), and this worker "
        "asks no hub: load it once by a worker that does, or turn off spec.hub.offline of the "
        "pool (CAPTIONFLEET_OFFLINE)",
    )


def no_revision(source: HuggingFaceSource) -> LoadFailed:
    return LoadFailed(
        "InvalidSpec",
        f"{source.revision!r} can be no revision of {source.repo}: name a commit, tag or branch in "
        "spec.source.huggingFace.revision",
    )


def no_commit(source: HuggingFaceSource, place: str, told: str) -> LoadFailed:
    """What a hub names becomes a path here, and a hub may be anybody's."""
    return LoadFailed(
        "WrongContent",
        f"{place} says that {source.repo} at {source.revision} is the commit {told[:60]!r}, which "
        "is none: nothing is fetched; correct spec.source.huggingFace.endpoint",
    )


def cut_short(
    source: HuggingFaceSource, place: str, file: File, there: int, why: str
) -> LoadFailed:
    return LoadFailed(
        "HubUnreachable",
        f"{file.name} of {source.repo} stopped coming from {place} at {there:,} of {file.size:,} "
        f"bytes, several times in a row ({why}); what is there is kept, and the next try goes on "
        "from it",
        retriable=True,
    )


def wrong_content(source: HuggingFaceSource, place: str, name: str, why: str) -> LoadFailed:
    return LoadFailed(
        "WrongContent",
        f"{name} of {source.repo} came from {place} with {why}: its own listing promises another, "
        "so the hub or a proxy on the way is at fault; nothing of it was kept",
        retriable=True,
    )


def failure_of(error: Exception, source: HuggingFaceSource, place: str, cache: Path) -> LoadFailed:
    """What an error of TROUBLE means for a person."""
    repo = source.repo
    if isinstance(error, HfHubHTTPError):
        return _refusal(error, source, place) or _unreachable(error, repo, place)
    # Trouble of the network comes without a number, trouble of the disk with one.
    if isinstance(error, OSError) and error.errno is not None:
        return LoadFailed(
            "LoadFailed",
            f"{repo} cannot be stored in {cache}: {error.strerror}; free space there, or name "
            "another folder in CAPTIONFLEET_CACHE",
            retriable=True,
        )
    return _unreachable(error, repo, place)


def _refusal(error: HfHubHTTPError, source: HuggingFaceSource, place: str) -> LoadFailed | None:
    repo = source.repo
    if isinstance(error, GatedRepoError):
        return LoadFailed(
            "GatedRepo",
            f"{repo} is gated: accept its license at {place}/{repo}, and give the worker a token "
            "of that account in HF_TOKEN",
        )
    if isinstance(error, RevisionNotFoundError):
        return LoadFailed(
            "SourceNotFound",
            f"{repo} has no revision {source.revision}: correct spec.source.huggingFace.revision",
        )
    if isinstance(error, RepositoryNotFoundError):
        return LoadFailed(
            "SourceNotFound",
            f"{place} has no repository {repo}, or it is private: correct "
            "spec.source.huggingFace.repo, or give the worker a token in HF_TOKEN",
        )
    if (status := error.response.status_code) in (401, 403):
        return LoadFailed(
            "GatedRepo",
            f"{place} refused {repo} with {status}: give the worker a token that may read it in "
            "HF_TOKEN",
        )
    return None


def _unreachable(error: Exception, repo: str, place: str) -> LoadFailed:
    return LoadFailed(
        "HubUnreachable",
        f"{repo} could not be fetched from {place}, and is not complete in the cache: "
        f"{told(error)}; check the address and the network",
        retriable=True,
    )


def told(error: BaseException) -> str:
    """Its first line, without remarks, and without what addresses carry after `?`: that may be a
    signature."""
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return re.sub(r"\?[^\s'\"]+| \([^)]*\)$", "", line)
