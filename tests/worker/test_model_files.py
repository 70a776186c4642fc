"""Files of models that a person asked for: fetched without a copy, deleted unless in use."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.conftest import eventually
from tests.worker.agents import working
from tests.worker.stand_ins import Operator, Workshop

from captionfleet.messages import Download, FilesState, ModelAssignment, Wanted
from captionfleet_worker.agent import Agent
from captionfleet_worker.deleting import delete_files
from captionfleet_worker.engine_process import EngineOrder, LoadFailed
from captionfleet_worker.fetcher import Tell
from captionfleet_worker.fetching.cache import to_ourselves
from captionfleet_worker.fetching.uses import Uses
from captionfleet_worker.settings import WorkerSettings

HUB = {"source": {"huggingFace": {"repo": "owner/name"}}}


def asked(state: Wanted) -> ModelAssignment:
    return ModelAssignment(state=state, fingerprint="f", spec=HUB, asked=True)


@dataclass
class Fetcher:
    """Puts a repository into a cache as a hub would, when `go` is set."""

    cache: Path
    go: asyncio.Event = field(default_factory=asyncio.Event)
    failures: list[Exception] = field(default_factory=list)

    async def supply(self, order: EngineOrder, tell: Tell) -> EngineOrder:
        return order

    async def fetch(self, model: str, asked: ModelAssignment, tell: Tell) -> None:
        done = Download(files_done=1, files_total=2, bytes_done=5, bytes_total=10)
        tell("1 of 2 files", done)
        await self.go.wait()
        if self.failures:
            raise self.failures.pop(0)
        put(self.cache)


def put(cache: Path) -> Path:
    """A model as a hub's client leaves it. Returns one of its files."""
    folder, commit = cache / "models--owner--name", 40 * "a"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        (snapshot / name).write_text("{}")
    return snapshot / "config.json"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def fetcher(cache: Path) -> Fetcher:
    return Fetcher(cache)


@pytest.fixture
async def agent(
    settings: WorkerSettings, cache: Path, workshop: Workshop, operator: Operator, fetcher: Fetcher
) -> AsyncIterator[Agent]:
    own = settings.model_copy(update={"cache": cache})
    async with working(own, workshop, fetcher) as agent:
        await eventually(lambda: operator.heartbeats)
        yield agent


def files(operator: Operator) -> FilesState | None:
    return next(iter(operator.last.files), None)


async def test_files_are_fetched_without_an_engine_and_told_on_the_way(
    agent: Agent, operator: Operator, fetcher: Fetcher, workshop: Workshop
) -> None:
    await operator.assign({"m": asked(Wanted.CACHED)})
    await eventually(lambda: (f := files(operator)) and f.message == "1 of 2 files")
    told = files(operator)
    assert told and told.download
    assert told.download.bytes_total == 10
    fetcher.go.set()
    await eventually(lambda: operator.last.cached == ["m"] and not operator.last.files)
    assert operator.last.copies == []
    assert workshop.orders == []


async def test_a_fetch_that_fails_is_told_and_one_that_nobody_wants_any_more_ends(
    agent: Agent, operator: Operator, fetcher: Fetcher
) -> None:
    fetcher.failures.append(LoadFailed("HubUnreachable", "the hub does not answer", True))
    fetcher.go.set()
    await operator.assign({"m": asked(Wanted.CACHED)})
    await eventually(lambda: (f := files(operator)) and f.failed)
    told = files(operator)
    assert told and told.message == "the hub does not answer"
    await operator.assign({})
    await eventually(lambda: not operator.last.files)


async def test_a_model_asked_to_be_absent_loses_its_copy_and_then_its_files(
    agent: Agent, operator: Operator, cache: Path, workshop: Workshop
) -> None:
    config = put(cache)
    await operator.assign({"m": asked(Wanted.LOADED)})
    await eventually(lambda: workshop.engines and operator.last.cached == ["m"])
    await operator.assign({"m": asked(Wanted.ABSENT)})
    await eventually(lambda: operator.last.cached == [] and not operator.last.copies)
    assert not workshop.engines[0].alive
    assert not config.exists()


async def test_what_a_cut_download_left_is_deleted_too(
    agent: Agent, operator: Operator, cache: Path
) -> None:
    part = cache / "models--owner--name" / "blobs" / "1f3b.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half of the weights")
    await operator.assign({"m": asked(Wanted.ABSENT)})
    await eventually(lambda: not part.exists() and not operator.last.files)


async def test_nobody_begins_to_use_files_while_they_are_deleted(cache: Path) -> None:
    config, uses = put(cache), Uses(cache, "w1")
    with to_ourselves(cache):
        deleting = asyncio.create_task(delete_files(HUB, cache, uses, {}))
        done, _ = await asyncio.wait({deleting}, timeout=0.3)
        assert not done and config.exists()
        Uses(cache, "w2").begin("owner/name")
    with pytest.raises(LoadFailed, match="another worker with the same cache uses its files"):
        await deleting
    assert config.exists()


async def test_files_that_another_copy_uses_are_not_deleted(
    agent: Agent, operator: Operator, cache: Path, workshop: Workshop
) -> None:
    config = put(cache)
    await operator.assign({"n": asked(Wanted.LOADED), "m": asked(Wanted.ABSENT)})
    await eventually(lambda: (f := files(operator)) and f.failed)
    told = files(operator)
    assert told
    assert told.message == "n uses the same files on this worker: unload it first"
    assert config.exists()
