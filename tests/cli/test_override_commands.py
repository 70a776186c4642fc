"""load, unload, evict and release on a real fleet: they win over the planner, and say why not."""

import json
import shutil
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
from tests.cli.installation import Up, copy_of_shapes, started
from tests.conftest import SHAPES, eventually

pytestmark = [pytest.mark.services, pytest.mark.timeout(360)]

PICTURE = str(SHAPES / "pictures" / "shapes-01.png")
MANIFESTS = """
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {name: shapes-basic}
spec:
  source: {volume: {path: models/shapes-basic}}
  acceptance: {prove: OnFirstUse}
---
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {name: huge}
spec:
  source: {volume: {path: models/shapes-blip}}
  requirements: {memory: 9000Gi}
  acceptance: {prove: OnFirstUse}
---
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {name: suspended}
spec:
  source: {volume: {path: models/shapes-weak}}
  suspend: true
"""


@pytest.fixture(scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    home = tmp_path_factory.mktemp("overrides")
    folder = copy_of_shapes(home / "shapes")
    shutil.rmtree(folder / "custom_infer")
    (folder / "models.yaml").write_text(MANIFESTS)
    one_worker = (folder / "pool.yaml").read_text().replace("maxReplicas: 2", "maxReplicas: 1")
    (folder / "pool.yaml").write_text(one_worker)
    async with started(folder, home) as running:
        await eventually(lambda: _workers(running), seconds=60)
        yield running


async def _workers(up: Up) -> list[dict[str, Any]]:
    ran = await up.run("get", "workers", "-o", "json")
    found: list[dict[str, Any]] = json.loads(ran.out)["items"] if ran.code == 0 else []
    return found


def descendants(up: Up) -> list[psutil.Process]:
    """Engines included, which know nothing of our environment."""
    return psutil.Process(up.process.pid).children(recursive=True)


async def copies(up: Up) -> list[str]:
    return [copy["model"] for each in await _workers(up) for copy in each["copies"]]


async def test_load_tells_how_far_it_is_and_ends_when_the_copy_is_ready(up: Up) -> None:
    ran = await up.run("load", "shapes-basic", "--worker", "cpu-1")
    assert ran.code == 0, ran.err
    assert ran.out == "shapes-basic on cpu-1: loaded\n"
    assert "loading on cpu-1" in ran.err
    assert await copies(up) == ["shapes-basic"]
    wide = (await up.run("get", "workers", "-o", "wide")).out
    assert "shapes-basic(loaded)" in wide
    assert (await up.run("download", "shapes-basic", "--worker", "cpu-1")).code == 2


async def test_unload_ends_the_process_and_keeps_it_away_until_it_is_released(up: Up) -> None:
    await up.run("unload", "shapes-basic", "--worker", "cpu-1")
    before = set(descendants(up))
    await up.run("load", "shapes-basic", "--worker", "cpu-1")
    begun = set(descendants(up)) - before
    ran = await up.run("unload", "shapes-basic", "--worker", "cpu-1")
    assert (ran.code, ran.out) == (
        0,
        "shapes-basic on cpu-1: its files are here, and it is kept from loading\n",
    )
    ended = [process for process in begun if not process.is_running()]
    assert ended, "unload ends the engine; what engines are forked from may stay"
    job = (await up.run("submit", PICTURE, "--models", "shapes-basic")).out.strip()
    kept_away = "kept away from cpu-1 by an override"

    async def told() -> bool:
        found = json.loads((await up.run("results", job, "-o", "json")).out)
        return kept_away in (found["tasks"][0]["reason"] or "")

    await eventually(told, seconds=30, what=kept_away)
    released = await up.run("release", "shapes-basic", "--worker", "cpu-1")
    assert released.code == 0

    async def captioned() -> bool:
        found = json.loads((await up.run("results", job, "-o", "json")).out)
        return bool(found["tasks"][0]["state"] == "captioned")

    await eventually(captioned, seconds=60, what="a caption once it is released")


@pytest.mark.parametrize(
    ("command", "model", "why"),
    [
        ("load", "huge", "it cannot fit: it needs 9663.7 GB"),
        ("load", "suspended", "the model is suspended: set spec.suspend to false"),
        ("evict", "shapes-basic", "its files are a person's own"),
    ],
)
async def test_what_cannot_be_done_says_why_and_how_to_end_it(
    up: Up, command: str, model: str, why: str
) -> None:
    ran = await up.run(command, model, "--worker", "cpu-1")
    assert ran.code == 1
    assert why in ran.out
    assert f"captionfleet release {model} --worker cpu-1" in ran.err
    assert (await up.run("release", model, "--worker", "cpu-1")).code == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("load", "shapes-basic", "--worker", "cpu-9"), "there is no worker 'cpu-9' now"),
        (("load", "nothing", "--worker", "cpu-1"), "there is no CaptionModel 'nothing'"),
        (("unload", "huge", "--worker", "cpu-1"), "there is nothing to unload"),
        (("release", "huge", "--worker", "cpu-1"), "nothing is asked of worker cpu-1 about huge"),
    ],
)
async def test_what_makes_no_sense_is_a_usage_error(
    up: Up, arguments: tuple[str, ...], why: str
) -> None:
    ran = await up.run(*arguments)
    assert (ran.code, why in ran.err) == (2, True)
