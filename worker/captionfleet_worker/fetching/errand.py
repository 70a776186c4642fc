"""One errand of the fetcher, from an order to a folder that has all that loading needs."""

import glob
import urllib.parse
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from pathlib import Path

import httpx2
from huggingface_hub import (
    HfApi,
    ResolvedRevision,
    constants,
    set_client_factory,
    snapshot_download,
)
from huggingface_hub.errors import LocalEntryNotFoundError, RevisionResolutionError

from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.fetching.cache import (
    Repository,
    is_commit,
    length,
    stays_inside,
    to_ourselves,
)
from captionfleet_worker.fetching.download import Hub, fetch_file
from captionfleet_worker.fetching.listing import File, asked_listing
from captionfleet_worker.fetching.meter import Meter
from captionfleet_worker.fetching.needs import needed
from captionfleet_worker.fetching.order import Fetched, FetchOrder
from captionfleet_worker.fetching.room import make_room
from captionfleet_worker.fetching.telling import Telling
from captionfleet_worker.fetching.trouble import (
    TROUBLE,
    Hurried,
    failure_of,
    no_commit,
    no_revision,
    not_cached,
    patiently,
    refuse_hurry,
)
from captionfleet_worker.fetching.uses import Uses

_FILES_AT_ONCE = 4
_CONNECT_SECONDS = 10.0


class Errand:
    """See the module."""

    def __init__(self, order: FetchOrder, telling: Telling) -> None:
        source = order.source
        self._order = order
        self._telling = telling
        self._name = f"{source.repo} at {source.revision}"
        self._cache = order.cache.folder or Path(constants.HF_HUB_CACHE)
        self._repository = Repository(self._cache, source.repo)
        self._endpoint = source.endpoint or constants.ENDPOINT
        self._offline = order.offline or constants.HF_HUB_OFFLINE
        # The worker's token is for the worker's hub: whoever writes a manifest must not be able
        # to have it sent to a host of their choice.
        self._token = None if _same_host(self._endpoint, constants.ENDPOINT) else False
        self._api = HfApi(endpoint=self._endpoint, token=self._token)
        set_client_factory(lambda: _client(self._endpoint, order.stall_seconds))

    def run(self) -> Fetched:
        """Raises LoadFailed for all that can go wrong."""
        try:
            return self._run()
        except TROUBLE as error:
            raise self._failure(error) from error

    def _run(self) -> Fetched:
        if not stays_inside(self._order.source.revision):
            raise no_revision(self._order.source)
        self._begin_use()
        self._telling.sentence(f"looking up {self._name}")
        revision = patiently(self._resolve, self._telling.sentence)
        commit = revision.resolved
        if not is_commit(commit):
            raise no_commit(self._order.source, self._endpoint, commit)
        if not self._is_here(commit):
            if self._offline:
                raise not_cached(self._order.source, self._cache, self._lacking(commit))
            self._record(revision, self._bring(commit))
        return Fetched(self._repository.snapshot(commit), commit)

    def _begin_use(self) -> None:
        """A cache that cannot be written to takes no mark; but then nobody removes anything."""
        if self._order.cache.owned:
            with suppress(OSError), to_ourselves(self._cache):
                Uses(self._cache, self._order.worker).begin(self._order.source.repo)

    def _resolve(self) -> ResolvedRevision:
        source = self._order.source
        return self._api.resolve_revision(
            source.repo, revision=source.revision, cache_dir=self._cache,
            local_files_only=self._offline,
        )  # fmt: skip

    # What is in the cache already.

    def _is_here(self, commit: str) -> bool:
        """All that is needed, told without the hub."""
        files = self._listed(commit)
        if files is not None:
            return not self._missing(commit, files)
        # A cache that an older client filled does not tell what the repository has: that is good
        # enough only where nobody can be asked.
        return self._offline and self._looks_whole(commit)

    def _listed(self, commit: str) -> list[File] | None:
        """As an earlier download left it, names and sizes alone; None if none did."""
        sizes = self._repository.listed(commit)
        return None if sizes is None else [File(name, size) for name, size in sizes.items()]

    def _looks_whole(self, commit: str) -> bool:
        """What is there could be loaded, as far as names tell."""
        folder = self._repository.snapshot(commit)
        found = [e.name for e in folder.iterdir() if e.exists()] if folder.is_dir() else []
        try:
            return bool(needed(found, self._order))
        except LoadFailed:
            return False

    def _missing(self, commit: str, files: Sequence[File]) -> list[File]:
        has = self._repository.has
        return [file for file in self._needed(files) if not has(commit, file.name, file.size)]

    def _needed(self, files: Sequence[File]) -> list[File]:
        """Large ones first: nothing waits for them at the end."""
        names = set(needed([file.name for file in files], self._order))
        found = [file for file in files if file.name in names]
        return sorted(found, key=lambda file: (-file.size, file.name))

    def _lacking(self, commit: str) -> str:
        files = self._listed(commit)
        missing = self._missing(commit, files) if files else []
        if not missing:
            return "nothing of this revision is there"
        return "it lacks " + ", ".join(file.name for file in missing[:3])

    # What has to come.

    def _bring(self, commit: str) -> list[str]:
        """Fetch what lacks. Returns the names of all that is needed."""
        source = self._order.source
        try:
            files = patiently(
                lambda: asked_listing(self._api, source.repo, commit), self._telling.sentence
            )
        except httpx2.TransportError:
            if self._repository.listed(commit) is None and self._looks_whole(commit):
                return []
            raise
        wanted, missing = self._needed(files), self._missing(commit, files)
        meter = Meter({file.name: file.size for file in wanted})
        for file in wanted:
            if file not in missing:
                meter.at(file.name, file.size)
        with to_ourselves(self._cache) if self._order.cache.owned else nullcontext():
            make_room(self._order, self._cache, self._need(missing), self._telling.sentence)
        self._telling.measure(meter)
        self._fetch(missing, Hub(source, commit, self._endpoint, self._token), meter)
        return [file.name for file in wanted]

    def _need(self, missing: Sequence[File]) -> int:
        """Bytes that will come; what is there of a file that was cut off will not again."""
        need = 0
        for file in missing:
            if length(self._repository.blob(file.key)) != file.size:
                need += file.size - (length(self._repository.partial(file.key)) or 0)
        return need

    def _fetch(self, files: Sequence[File], hub: Hub, meter: Meter) -> None:
        tell = self._telling.sentence
        pool = ThreadPoolExecutor(_FILES_AT_ONCE)
        try:
            futures = [
                pool.submit(fetch_file, hub, file, self._repository, meter, tell) for file in files
            ]
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _record(self, revision: ResolvedRevision, names: Sequence[str]) -> None:
        """Let the library note what the repository holds: then the next start asks nobody."""
        source = self._order.source
        with suppress(*TROUBLE, Hurried):
            snapshot_download(
                source.repo, revision=revision, cache_dir=self._cache, endpoint=self._endpoint,
                token=self._token, allow_patterns=[glob.escape(name) for name in names],
            )  # fmt: skip

    def _failure(self, error: Exception) -> LoadFailed:
        source = self._order.source
        if self._offline and isinstance(error, LocalEntryNotFoundError | RevisionResolutionError):
            return not_cached(source, self._cache, "nothing of this revision is there")
        return failure_of(error, source, self._endpoint, self._cache)


def _client(endpoint: str, stall_seconds: float) -> httpx2.Client:
    host = urllib.parse.urlsplit(endpoint).hostname

    def keep_token_home(request: httpx2.Request) -> None:
        if request.url.host != host:
            request.headers.pop("Authorization", None)

    return httpx2.Client(
        follow_redirects=True,
        timeout=httpx2.Timeout(stall_seconds, connect=_CONNECT_SECONDS),
        event_hooks={"request": [keep_token_home], "response": [refuse_hurry]},
    )


def _same_host(one: str, other: str) -> bool:
    return urllib.parse.urlsplit(one)[:2] == urllib.parse.urlsplit(other)[:2]
