"""What tests of fetching share: a hub taken for the worker's own, errands, and files to fetch."""

import asyncio
import io
import random
from pathlib import Path
from typing import Any

import pytest
from tests.fakehub import FakeHub

from captionfleet.messages import Download
from captionfleet.resources.model import HuggingFaceSource, ModelSpec
from captionfleet_worker.engine_process import EngineOrder
from captionfleet_worker.fetcher import Fetcher
from captionfleet_worker.fetching.errand import Errand
from captionfleet_worker.fetching.order import CacheRules, Fetched, FetchOrder
from captionfleet_worker.fetching.telling import Telling

WEIGHTS = random.Random(7).randbytes(1_000_000)
TOY = {"config.json": b'{"model_type": "toy"}', "model.safetensors": WEIGHTS}
"""Enough for a fetcher, which looks at names."""


def be_the_workers_own(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, as HF_ENDPOINT does it in one that starts."""
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


class Errands:
    """Runs errands in this process, and keeps the sentences that were told last."""

    def __init__(self, hub: FakeHub, cache: Path) -> None:
        self.hub = hub
        self.cache = cache
        self.told: list[str] = []

    def run(self, repo: str = "toys/basic", *, revision: str = "main", **more: Any) -> Fetched:
        """Raises LoadFailed. `more`: fields of the order, or of its source."""
        in_source = {name: more.pop(name) for name in list(more) if name in _OF_SOURCE}
        source = HuggingFaceSource(
            repo=repo, revision=revision, endpoint=more.pop("endpoint", self.hub.url), **in_source
        )
        rules = more.pop("rules", CacheRules(self.cache, owned=True))
        lines = io.StringIO()
        telling = _Listening(lines, self.told)
        fetched = Errand(FetchOrder(source=source, cache=rules, **more), telling).run()
        telling.finish(fetched)
        return fetched


class _Listening(Telling):
    """Remembers every sentence, however short it was true."""

    def __init__(self, stream: io.StringIO, told: list[str]) -> None:
        super().__init__(stream)
        self._all = told

    def sentence(self, said: str) -> None:
        self._all.append(said)
        super().sentence(said)


_OF_SOURCE = {"allow_patterns", "ignore_patterns"}


def fetcher_of(place: Path, worker: str = "w1", **more: Any) -> Fetcher:
    """One that starts processes; its cache and logs are in `place`."""
    rules = more.pop("rules", CacheRules(place / "cache", owned=True))
    return Fetcher(worker, rules, False, 60.0, place / "logs", **more)


async def supplied(order: EngineOrder, *, offline: bool = False) -> EngineOrder:
    """As an agent does before it starts an engine. Raises LoadFailed."""
    rules = CacheRules(order.cache)
    fetcher = Fetcher("w1", rules, offline or order.offline, 60.0, order.log_file.parent)
    return await fetcher.supply(order, lambda sentence, download: None)


class Told:
    """What a fetcher has told so far."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.downloads: list[Download] = []

    def __call__(self, sentence: str, download: Download | None) -> None:
        self.sentences.append(sentence)
        if download:
            self.downloads.append(download)


def order_of(repo: str, place: Path, **spec: Any) -> EngineOrder:
    made = {"source": {"huggingFace": {"repo": repo}}} | spec
    return EngineOrder(
        model="m", spec=ModelSpec.model_validate(made), device="cpu", threads=1,
        custom_infer=place, cache=place / "cache", rooms=place / "rooms",
        log_file=place / "logs" / "m.log",
    )  # fmt: skip


async def waits(event: Any, seconds: float = 30) -> None:
    """For an event of a thread."""
    assert await asyncio.to_thread(event.wait, seconds)


def whole(folder: Path, files: dict[str, bytes]) -> bool:
    return {f.name: f.read_bytes() for f in folder.iterdir()} == files
