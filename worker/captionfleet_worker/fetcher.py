"""The agent's side of a fetcher: start it, hear how far it is, end it.

Imports no huggingface_hub. What the child does is in `fetching/`; engines are not given the token.
"""

import asyncio
import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from captionfleet.messages import Download, ModelAssignment
from captionfleet.resources import ModelSpec
from captionfleet_worker.engine.protocol import EngineOrder, LoadFailed
from captionfleet_worker.engine_log import EngineLog
from captionfleet_worker.fetching.order import CacheRules, Fetched, FetchOrder, Progress, hear

Tell = Callable[[str, Download | None], None]
"""Told how far it is: a sentence, and the numbers once they are known."""

_KEPT = {
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH",
    "VIRTUAL_ENV", "XDG_CACHE_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "HUGGING_FACE_HUB_TOKEN",
}  # fmt: skip
_KEPT_PREFIXES = ("HF_", "PYTHON")


@dataclass(frozen=True)
class Wishes:
    """Repositories of the cache that this worker has something to do with."""

    keep: frozenset[str] = frozenset()
    """Used, or asked for: never removed."""
    spare: frozenset[str] = frozenset()
    """Of models in the catalog: removed last."""


class Fetching(Protocol):
    """What an agent asks of its fetcher."""

    async def supply(self, order: EngineOrder, tell: Tell) -> EngineOrder:
        """The order with the folder of its files, if it has any on a hub. Raises LoadFailed."""
        ...

    async def fetch(self, model: str, asked: ModelAssignment, tell: Tell) -> None:
        """Have the files of a model here, apart from any copy. Raises LoadFailed."""
        ...


@dataclass(frozen=True)
class Fetcher:
    """Fetches for one worker, each time by a child of its own. See Fetching."""

    worker: str
    rules: CacheRules
    offline: bool
    stall_seconds: float
    logs: Path
    wishes: Callable[[], Wishes] = Wishes

    async def supply(self, order: EngineOrder, tell: Tell) -> EngineOrder:
        if order.files or not order.spec.source or not order.spec.source.hugging_face:
            return order
        fetched = await self._fetch(order.model, order.spec, tell)
        return dataclasses.replace(order, files=fetched.folder, commit=fetched.commit)

    async def fetch(self, model: str, asked: ModelAssignment, tell: Tell) -> None:
        try:
            spec = ModelSpec.model_validate(asked.spec)
        except ValidationError as error:
            raise not_understood(error) from None
        if spec.source and spec.source.hugging_face:
            await self._fetch(model, spec, tell)

    async def _fetch(self, model: str, spec: ModelSpec, tell: Tell) -> Fetched:
        tell("starting the fetcher", None)
        try:
            log = await EngineLog.open(self.logs / f"{model}.log")
        except OSError as error:
            raise LoadFailed(
                "LoadFailed",
                f"the worker cannot write {error.filename}: {error.strerror}; free space there, "
                "or name a folder in CAPTIONFLEET_LOGS that its user may write to",
                retriable=True,
            ) from None
        try:
            return await _run(self._order(spec), log, tell)
        finally:
            await log.end()

    def _order(self, spec: ModelSpec) -> FetchOrder:
        wishes = self.wishes()
        return dataclasses.replace(
            FetchOrder.of(spec, self.rules), offline=self.offline,
            stall_seconds=self.stall_seconds, worker=self.worker,
            keep=tuple(sorted(wishes.keep)), spare=tuple(sorted(wishes.spare)),
        )  # fmt: skip


def not_understood(error: ValidationError) -> LoadFailed:
    return LoadFailed(
        "InvalidSpec",
        f"this worker does not understand the model's spec ({error.error_count()} problems): run "
        "the same version of captionfleet everywhere",
    )


def fetch_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Of the agent's variables those that a download needs: the hub's token, and the way there."""
    kept = {
        name: value
        for name, value in inherited.items()
        if name.upper() in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    return kept | {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
                   "HF_HUB_DISABLE_XET": "1"}  # fmt: skip


async def _run(order: FetchOrder, log: EngineLog, tell: Tell) -> Fetched:
    """Raises LoadFailed. Cancelled, it ends the child: what is there of a file stays."""
    with log.opened() as output:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "captionfleet_worker.fetching", str(os.getpid()),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=output,
            start_new_session=True, env=fetch_environment(os.environ),
        )  # fmt: skip
    try:
        return await _heard(child, order, tell)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def _heard(child: asyncio.subprocess.Process, order: FetchOrder, tell: Tell) -> Fetched:
    assert child.stdin and child.stdout
    with contextlib.suppress(ConnectionError):
        child.stdin.write(order.to_line().encode())
        await child.stdin.drain()
    async for line in child.stdout:
        if not line.endswith(b"\n"):
            break  # it ended within a word
        said = hear(line)
        if isinstance(said, LoadFailed):
            raise said
        if isinstance(said, Fetched):
            return said
        assert isinstance(said, Progress)
        tell(said.sentence, said.download)
    code = await child.wait()
    raise LoadFailed(
        "LoadFailed",
        f"the fetcher of {order.source.repo} ended before its time (exit code {code}); the "
        "model's log may tell why",
        retriable=True,
    )
