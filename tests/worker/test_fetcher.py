"""The fetcher as its agent has it: a child with the token, watched, ended, and one at a time."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.conftest import SHAPES, eventually
from tests.fakehub import TOKEN, FakeHub
from tests.worker.engines import TRUTH, custom_spec, engine_of, normalized, order_for, plain
from tests.worker.hubs import TOY, WEIGHTS, Told, fetcher_of, order_of, supplied, waits, whole

from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.engine_process import EngineProcess, Shot
from captionfleet_worker.fetcher import fetch_environment
from captionfleet_worker.fetching.cache import Repository
from captionfleet_worker.fetching.order import CacheRules

pytestmark = pytest.mark.services  # fetchers and engines are processes

BASIC = SHAPES / "models" / "shapes-basic"
ON_HUB = {"source": {"huggingFace": {"repo": "toys/basic"}}}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that fetchers take for their own, and no token."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with FakeHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.add("toys/basic", TOY)
        yield hub


def children(module: str = "captionfleet_worker.fetching") -> list[psutil.Process]:
    return [c for c in psutil.Process().children() if module in c.cmdline()]


async def test_how_far_a_slow_download_is_can_be_seen(hub: FakeHub, tmp_path: Path) -> None:
    hub.hold_at = 600_000
    told = Told()
    fetching = asyncio.create_task(
        fetcher_of(tmp_path).supply(order_of("toys/basic", tmp_path), told)
    )
    await waits(hub.held)
    await eventually(lambda: told.downloads and told.downloads[-1].bytes_done > 600_000)
    seen = told.downloads[-1]
    assert (seen.files_done, seen.files_total) == (1, 2)
    assert seen.bytes_total == len(WEIGHTS) + len(TOY["config.json"])
    assert seen.file == "model.safetensors" and told.sentences[-1] == "fetching toys/basic at main"
    hub.go_on.set()
    order = await fetching
    assert order.files and whole(order.files, TOY)
    last = told.downloads[-1]
    assert (last.bytes_done, last.files_done) == (last.bytes_total, 2)
    assert "fetching toys/basic at main: 1.0 of 1.0 MB" in (tmp_path / "logs" / "m.log").read_text()
    assert [d.bytes_done for d in told.downloads] == sorted(d.bytes_done for d in told.downloads)


async def test_a_fetcher_that_is_not_wanted_any_more_ends_and_leaves_its_part(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.hold_at = 600_000
    fetcher, order = fetcher_of(tmp_path), order_of("toys/basic", tmp_path)
    fetching = asyncio.create_task(fetcher.supply(order, Told()))
    await waits(hub.held)
    [blobs] = tmp_path.glob("cache/*/blobs")
    await eventually(lambda: any(p.stat().st_size == 600_000 for p in blobs.glob("*.incomplete")))
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    assert not children()
    hub.hold_at = None
    hub.go_on.set()
    await fetcher.supply(order, Told())
    assert [start for name, start in hub.ranges if name == "model.safetensors"] == [0, 600_000]


async def test_a_killed_fetcher_is_told_and_may_be_tried_again(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.hold_at = 600_000
    fetcher, order = fetcher_of(tmp_path), order_of("toys/basic", tmp_path)
    fetching = asyncio.create_task(fetcher.supply(order, Told()))
    await waits(hub.held)
    [child] = children()
    child.kill()
    with pytest.raises(LoadFailed, match="ended before its time") as failed:
        await fetching
    assert failed.value.retriable


async def test_two_workers_with_one_cache_fetch_each_file_once(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.hold_at = 600_000
    order, first, second = order_of("toys/basic", tmp_path), Told(), Told()
    one = asyncio.create_task(fetcher_of(tmp_path, "w1").supply(order, first))
    await waits(hub.held)
    other = asyncio.create_task(fetcher_of(tmp_path, "w2").supply(order, second))
    await eventually(lambda: any("another worker" in each for each in second.sentences))
    await eventually(lambda: second.downloads and second.downloads[-1].bytes_done > 600_000)
    hub.go_on.set()
    assert await one == await other
    assert hub.sent == {name: len(content) for name, content in TOY.items()}


async def test_a_model_comes_from_a_hub_into_the_persons_own_cache(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    hub.add("toys/basic", BASIC)
    spec = ON_HUB | {"generation": {"maxNewTokens": 32}}
    async with engine_of(order_for(spec, tmp_path)) as engine:
        [answer] = await engine.run([Shot(normalized("shapes-01.png"), "")], {})
    assert answer.text == TRUTH["shapes-01.png"]["captions"]["plain"]
    assert (tmp_path / "home" / "hub" / "models--toys--basic").is_dir()


async def test_an_offline_worker_loads_what_is_cached_and_nothing_else(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.add("toys/basic", BASIC)
    order = order_for(ON_HUB, tmp_path, cache=tmp_path / "cache")
    async with engine_of(order) as online:
        revision = online.loaded.revision
    asked = len(hub.asked)
    engine = await EngineProcess.start(await supplied(order, offline=True), lambda *said: None)
    assert engine.loaded.revision == revision
    await engine.stop()
    with pytest.raises(LoadFailed, match="toys/other at main is not complete") as failed:
        await supplied(order_of("toys/other", tmp_path), offline=True)
    assert failed.value.reason == "Offline" and len(hub.asked) == asked


async def test_the_token_opens_a_gated_model_and_reaches_no_engine(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = hub.add("toys/basic", BASIC, gated=True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    code = (
        "class Own:\n    def load(self): pass\n    def infer(self, i): return self.weights.name\n"
    )
    order = order_for(custom_spec(tmp_path, code) | ON_HUB, tmp_path, cache=tmp_path / "cache")
    async with engine_of(order) as engine:
        [answer] = await engine.run([Shot(plain(), "")], {})
        seen = Path(f"/proc/{engine.pid}/environ").read_bytes()
    assert answer.text == repo.commit
    assert TOKEN.encode() not in seen and b"HF_HUB_OFFLINE=1" in seen
    said = (tmp_path / "logs" / "m.log").read_text()
    assert TOKEN not in said


async def test_the_token_is_in_no_argument_and_in_no_word_of_the_fetcher(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.add("toys/basic", TOY, gated=True)
    hub.hold_at = 600_000
    told = Told()
    fetching = asyncio.create_task(
        fetcher_of(tmp_path).supply(order_of("toys/basic", tmp_path), told)
    )
    await waits(hub.held)
    [child] = children()
    assert TOKEN not in " ".join(child.cmdline())
    hub.go_on.set()
    await fetching
    assert TOKEN not in " ".join(told.sentences)
    assert TOKEN not in (tmp_path / "logs" / "m.log").read_text()


async def test_what_a_hub_refuses_reaches_the_agent_as_it_was_judged(
    hub: FakeHub, tmp_path: Path
) -> None:
    with pytest.raises(LoadFailed, match="no repository toys/none") as failed:
        await fetcher_of(tmp_path).supply(order_of("toys/none", tmp_path), Told())
    assert (failed.value.reason, failed.value.retriable) == ("SourceNotFound", False)


async def test_a_model_of_a_folder_needs_no_fetcher(tmp_path: Path) -> None:
    order = order_of("x", tmp_path, source={"volume": {"path": str(tmp_path)}})
    told = Told()
    assert await fetcher_of(tmp_path).supply(order, told) is order and not told.sentences


async def test_a_download_makes_room_for_itself(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("toys/other", TOY)
    rules = CacheRules(tmp_path / "cache", owned=True, watermark_percent=100, limit_bytes=1_500_000)
    fetcher, told = fetcher_of(tmp_path, rules=rules), Told()
    await fetcher.supply(order_of("toys/basic", tmp_path), told)
    order = await fetcher.supply(order_of("toys/other", tmp_path), told)
    assert order.files and whole(order.files, TOY)
    assert not Repository(tmp_path / "cache", "toys/basic").folder.exists()


def test_a_fetcher_sees_the_token_and_the_way_to_the_hub_alone() -> None:
    agents = {
        "HF_TOKEN": "t", "HF_ENDPOINT": "e", "https_proxy": "p", "PATH": "b", "HOME": "h",
        "RABBITMQ_URL": "secret", "CAPTIONFLEET_TOKEN": "secret", "AWS_SECRET_ACCESS_KEY": "s",
    }  # fmt: skip
    seen = fetch_environment(agents)
    assert {"HF_TOKEN", "HF_ENDPOINT", "https_proxy", "PATH", "HOME"} <= set(seen)
    assert not {"RABBITMQ_URL", "CAPTIONFLEET_TOKEN", "AWS_SECRET_ACCESS_KEY"} & set(seen)
    assert seen["HF_HUB_DISABLE_XET"] == "1"
