"""The main path on real models: pictures in, right captions side by side out."""

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT, SHAPES, eventually
from tests.system.fleet import Fleet, Submission, running_fleet

sys.path.append(str(SHAPES / "trainer"))
from world import describe, draw, fresh

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

POOL = (SHAPES / "pool.yaml").read_text()
MODELS = (SHAPES / "models.yaml").read_text().replace("path: models/", f"path: {SHAPES}/models/")


@pytest.fixture(scope="module")
def shapes(broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("shapes") / "fleet"
    manifests = f"{POOL}\n---\n{MODELS}"
    with running_fleet(folder, broker_url=broker_url, manifests=manifests) as fleet:
        yield fleet


async def submit(fleet: Fleet, files: dict[str, bytes], models: list[str]) -> Submission:
    async with fleet.client() as client:
        images = []
        for name, content in files.items():
            answer = await client.post("/images", content=content, params={"filename": name})
            assert answer.status_code == 201, answer.text
            images.append({"id": answer.json()["id"], "filename": name})
        answer = await client.post("/jobs", json={"images": images, "models": models})
        assert answer.status_code == 202, answer.text
        return Submission(fleet, [], answer.json()["id"])


async def test_every_sample_picture_gets_its_right_captions(shapes: Fleet) -> None:
    truth = json.loads((SHAPES / "pictures" / "truth.json").read_text())
    files = {name: (SHAPES / "pictures" / name).read_bytes() for name in truth}
    models = ["shapes-basic", "shapes-blip", "shapes-chat"]
    tasks = await (await submit(shapes, files, models)).finished(seconds=120)
    assert len(tasks) == len(files) * len(models)
    right = dict.fromkeys(models, 0)
    for task in tasks:
        captions = truth[task["image"]["filename"]]["captions"]
        expected = captions["plain"]
        if task["model"] == "shapes-chat":
            expected = f"The image shows {captions['full']}."
        right[task["model"]] += task["caption"]["text"] == expected
    # What the checkpoints themselves can do on these 18 pictures, orientation and alpha included.
    assert right["shapes-basic"] >= 17
    assert right["shapes-blip"] >= 17
    assert right["shapes-chat"] >= 18


async def test_300_pictures_by_3_models_end_complete_and_uncrossed(shapes: Fleet) -> None:
    scenes, files, rng = [], {}, random.Random(7)
    for number, scene in enumerate(fresh(rng, 300, unseen=False)):
        scenes.append(scene)
        files[f"{number:03d}.png"] = png(draw(scene, rng, 256, 256)[0])
    models = ["shapes-basic", "shapes-blip", "shapes-weak"]
    tasks = await (await submit(shapes, files, models)).finished(seconds=240)
    assert len({(t["image"]["filename"], t["model"]) for t in tasks}) == len(tasks) == 900
    assert {t["state"] for t in tasks} == {"captioned"}
    for model, at_least in (("shapes-basic", 0.93), ("shapes-blip", 0.9)):
        right = [
            t["caption"]["text"] == describe(scenes[int(t["image"]["filename"][:3])], "plain")
            for t in tasks
            if t["model"] == model
        ]
        # A caption on the wrong picture would be right by chance once in hundreds.
        assert sum(right) / len(right) >= at_least


async def test_the_same_pictures_again_are_answered_from_the_cache(
    shapes: Fleet, tmp_path: Path
) -> None:
    """Weights in a folder may change while unloaded, so only a loaded copy's revision counts."""
    files = {"a.png": (SHAPES / "pictures" / "shapes-01.png").read_bytes()}
    first = await (await submit(shapes, files, ["shapes-basic"])).finished()
    again = await (
        await submit(shapes, {**files, "b.png": files["a.png"]}, ["shapes-basic"])
    ).finished()
    assert [t["caption"]["cached"] for t in again] == [True, True]
    assert {t["caption"]["text"] for t in [*first, *again]} == {first[0]["caption"]["text"]}


async def test_a_worker_with_nothing_but_the_brokers_address_joins(
    shapes: Fleet, broker_url: str, tmp_path: Path
) -> None:
    import subprocess

    fleet_name = (shapes.data / "fleet").read_text().strip()
    home = tmp_path / "elsewhere"
    home.mkdir()
    environment = {"RABBITMQ_URL": broker_url, "CAPTIONFLEET_FLEET": fleet_name,
                   "HOME": str(home), "HF_HOME": str(home / "hf"), "PATH": "/usr/bin:/bin",
                   "ORACLE_ORDERS": str(shapes.orders),
                   "CAPTIONFLEET_ENGINE_ENV": "ORACLE_ORDERS"}  # fmt: skip
    worker = subprocess.Popen(
        [ROOT / ".venv" / "bin" / "captionfleet", "worker", "--pool", "cpu", "--metrics-port", "0"],
        env=environment, cwd=home,
    )  # fmt: skip
    try:
        async with shapes.client() as client:

            async def joined() -> bool:
                # The pool may have grown to two by itself, with workers named after it.
                workers = (await client.get("/workers")).json()["items"]
                return any(not worker["id"].startswith("cpu-") for worker in workers)

            await eventually(joined, seconds=30)
    finally:
        worker.terminate()
        assert worker.wait(30) == 0


def png(image: Any) -> bytes:
    from io import BytesIO

    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
