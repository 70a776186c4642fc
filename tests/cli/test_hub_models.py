"""A model of a hub on a real fleet: fetched, loaded, deleted and given back, one word at a time."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.installation import Up, copy_of_shapes, started
from tests.conftest import SHAPES, eventually
from tests.fakehub import FakeHub

pytestmark = [pytest.mark.services, pytest.mark.timeout(360)]

PICTURE = str(SHAPES / "pictures" / "shapes-01.png")
MODEL = """
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {name: toy}
spec:
  source: {huggingFace: {repo: toys/basic}}
  generation: {maxNewTokens: 32}
  acceptance: {prove: OnFirstUse}
"""
PINNED = MODEL + "  residency: {policy: Pinned, minCopies: 1}\n"
KEPT_AWAY = "its files are here, and it is kept from loading"
AT = ("--worker", "cpu-1")


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.add("toys/basic", SHAPES / "models" / "shapes-basic")
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a catalog with one model and one worker."""
    folder = copy_of_shapes(tmp_path / "shapes")
    shutil.rmtree(folder / "custom_infer")
    (folder / "models.yaml").write_text(MODEL)
    pool = (folder / "pool.yaml").read_text()
    (folder / "pool.yaml").write_text(pool.replace("maxReplicas: 2", "maxReplicas: 1"))
    return folder


@pytest.fixture
async def up(folder: Path, tmp_path: Path, hub: FakeHub) -> AsyncIterator[Up]:
    """Its workers have a cache of their own."""
    variables = {"HF_ENDPOINT": hub.url, "CAPTIONFLEET_CACHE": str(tmp_path / "cache")}
    async with started(folder, tmp_path, **variables) as running:
        await eventually(lambda: the_worker(running), seconds=60, what="a worker")
        yield running


@pytest.fixture
def pinned(folder: Path) -> None:
    (folder / "models.yaml").write_text(PINNED)


async def the_worker(up: Up) -> dict[str, Any]:
    ran = await up.run("get", "workers", "-o", "json")
    items = json.loads(ran.out)["items"] if ran.code == 0 else []
    found: dict[str, Any] = items[0] if items else {}
    return found


async def said(up: Up, *arguments: str) -> str:
    """What a command that goes well says about the model."""
    ran = await up.run(*arguments, *AT)
    assert ran.code == 0, ran.err
    return ran.out.strip().removeprefix("toy on cpu-1")


async def task(up: Up, job: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await up.run("results", job, "-o", "json")).out)["tasks"][0]
    return found


async def test_a_model_is_fetched_loaded_deleted_and_given_back(up: Up, hub: FakeHub) -> None:
    weights = up.home / "cache" / "models--toys--basic"
    hub.hold_at = 1_000_000
    async with up.running("download", "toy", *AT) as fetching:
        assert fetching.stderr
        assert await asyncio.to_thread(hub.held.wait, 60)
        async for line in fetching.stderr:
            if b"1.0 of 3.3 MB" in line:
                break
        hub.go_on.set()
        out, _ = await asyncio.wait_for(fetching.communicate(), 60)
    assert (fetching.returncode, out.decode()) == (0, f"toy on cpu-1: {KEPT_AWAY}\n")
    assert (await the_worker(up))["copies"] == []

    sent = hub.sent.total()
    assert await said(up, "load", "toy") == ": loaded"
    assert hub.sent.total() == sent, "what is here is not fetched again"

    assert await said(up, "evict", "toy") == ": nothing of it is here"
    assert not weights.exists()
    job = (await up.run("submit", PICTURE, "--models", "toy")).out.strip()
    await eventually(lambda: is_kept_away(up, job), seconds=30, what="the reason of the wait")
    assert not weights.exists()

    assert await said(up, "release", "toy") == " is released"
    await eventually(lambda: is_captioned(up, job), seconds=60, what="a caption")
    assert weights.exists() and hub.sent.total() == 2 * sent


async def test_a_persons_word_outlives_the_processes_that_heard_it(pinned: None, up: Up) -> None:
    await eventually(lambda: is_loaded(up), seconds=60, what="the pinned copy")
    assert await said(up, "unload", "toy") == f": {KEPT_AWAY}"
    assert loads_told(up) == 1
    for name in ("captionfleet_api", "captionfleet_operator"):
        program = await up.program(name)
        program.kill()
        await asyncio.to_thread(program.wait, 30)
    operator = await up.program("captionfleet_operator")
    job = await eventually(lambda: submitted(up), seconds=60, what="an api that answers")
    await eventually(lambda: is_kept_away(up, job), seconds=60, what="the new operator's word")
    assert operator.is_running() and (await the_worker(up))["copies"] == []
    assert loads_told(up) == 1, "not even for a moment"
    assert await said(up, "release", "toy") == " is released"
    await eventually(lambda: is_captioned(up, job), seconds=60, what="a caption")


async def submitted(up: Up) -> str:
    """A job, or nothing while there is no api."""
    return (await up.run("submit", PICTURE, "--models", "toy")).out.strip()


async def is_loaded(up: Up) -> bool:
    copies = (await the_worker(up)).get("copies", [])
    return any(copy["state"] == "ready" for copy in copies)


async def is_kept_away(up: Up, job: str) -> bool:
    return "kept away from cpu-1 by an override" in ((await task(up, job))["reason"] or "")


async def is_captioned(up: Up, job: str) -> bool:
    return bool((await task(up, job))["state"] == "captioned")


def loads_told(up: Up) -> int:
    """How often the worker has begun to load it, by its log: every load asks the fetcher first."""
    lines = (up.data / "logs" / "cpu-1" / "worker.log").read_text().splitlines()
    return sum("model=toy" in line and "state=downloading" in line for line in lines)
