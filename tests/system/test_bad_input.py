"""Bad input: each gets a clear answer that names what and why, while the rest goes on."""

import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from tests.conftest import SHAPES, eventually
from tests.system.fleet import Fleet, running_fleet

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

POOL = (SHAPES / "pool.yaml").read_text()
MODEL = """
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {name: %s}
spec: {source: {volume: {path: "%s"}}}
---
"""
GOOD = (SHAPES / "pictures" / "shapes-01.png").read_bytes()


@pytest.fixture(scope="module")
def fleet(broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("bad")
    hollow = folder / "hollow"
    shutil.copytree(SHAPES / "models" / "shapes-basic", hollow)
    (hollow / "model.safetensors").unlink()
    manifests = (
        MODEL % ("shapes-basic", SHAPES / "models" / "shapes-basic")
        + MODEL % ("shapes-chat", SHAPES / "models" / "shapes-chat")
        + MODEL % ("hollow", hollow)
        + MODEL % ("hollow", hollow)
        + (MODEL % ("misspelled", hollow)).replace("spec: {", "spec: {sped: 1, ")
        + POOL
    )
    with running_fleet(folder / "fleet", broker_url=broker_url, manifests=manifests) as fleet:
        yield fleet


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
        + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )  # fmt: skip


def long_gif() -> bytes:
    frames = [Image.new("P", (8, 8), number % 200) for number in range(10_000)]
    file = BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], optimize=False)
    return file.getvalue()


CUT = (SHAPES / "pictures" / "print-cmyk.jpg").read_bytes()[:4000]
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
# file name -> its content, the code, and words that must stand in the answer
BAD: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "empty.png": (lambda: b"", "empty", "empty"),
    "cut.jpg": (lambda: CUT, "truncated", "cut off"),
    "bomb.png": (lambda: png_header(60_000, 60_000), "too_many_pixels", "60000 x 60000"),
    "drawing.svg": (lambda: SVG, "unsupported_format", "SVG"),
    "letter.jpg": (lambda: b"Dear reader, this is text.", "not_an_image", "this is text"),
    "huge.jpg": (lambda: GOOD + b"\0" * 200_000_000, "too_large", "25 MB"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_file_is_refused_in_words(fleet: Fleet, name: str) -> None:
    content, code, words = BAD[name]
    async with fleet.client() as client:
        answer = await client.post("/images", content=content(), params={"filename": name})
    assert answer.status_code in (413, 415, 422)
    problem = answer.json()
    assert problem["code"] == code
    assert words in problem["detail"]


@pytest.mark.parametrize(
    "name",
    ["print-cmyk.jpg", "palette.gif", "transparent.png", "photo-orientation-3.jpg",
     "photo-orientation-6.jpg", "photo-orientation-8.jpg"],
)  # fmt: skip
async def test_an_odd_but_good_file_is_taken(fleet: Fleet, name: str) -> None:
    content = (SHAPES / "pictures" / name).read_bytes()
    async with fleet.client() as client:
        answer = await client.post("/images", content=content, params={"filename": name})
    assert answer.status_code == 201, answer.text


async def test_of_a_gif_with_10000_frames_the_first_is_taken(fleet: Fleet) -> None:
    async with fleet.client() as client:
        answer = await client.post("/images", content=long_gif(), params={"filename": "long.gif"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["width"] == 8


async def test_bad_files_among_good_ones_are_listed_and_the_job_goes_on(fleet: Fleet) -> None:
    files = [("files", (n, c())) for n, (c, *_) in BAD.items() if n != "huge.jpg"]
    files.append(("files", ("good.png", GOOD)))
    async with fleet.client() as client:
        answer = await client.post("/jobs", files=files, data={"models": "shapes-basic"})
        assert answer.status_code == 202, answer.text
        job = answer.json()
        rejected = {each["filename"]: each["code"] for each in job["rejected"]}
        assert rejected == {n: code for n, (_, code, _) in BAD.items() if n != "huge.jpg"}
        task = await ended(client, job["id"])
    assert task["state"] == "captioned"


async def test_an_unknown_model_is_refused_naming_the_known_ones(fleet: Fleet) -> None:
    async with fleet.client() as client:
        image = (await client.post("/images", content=GOOD)).json()["id"]
        answer = await client.post("/jobs", json={"images": [image], "models": ["shapes-basik"]})
    assert answer.status_code == 404
    assert "shapes-basic" in answer.json()["detail"]


async def test_a_folder_without_weights_says_so_and_its_tasks_wait_with_the_reason(
    fleet: Fleet,
) -> None:
    async with fleet.client() as client:
        image = (await client.post("/images", content=GOOD)).json()["id"]
        body = {"images": [image], "models": ["hollow", "shapes-basic"]}
        job = (await client.post("/jobs", json=body)).json()

        async def told() -> bool:
            tasks = (await client.get(f"/jobs/{job['id']}/tasks?model=hollow")).json()["items"]
            return "model.safetensors" in (tasks[0].get("reason") or "")

        async def captioned() -> bool:
            query = f"/jobs/{job['id']}/tasks?model=shapes-basic"
            return bool((await client.get(query)).json()["items"][0]["state"] == "captioned")

        await eventually(captioned, seconds=60)
        await eventually(told, seconds=60, what="the reason names the missing file")


async def test_wrong_manifests_are_told_with_file_and_field(fleet: Fleet) -> None:
    async with fleet.client() as client:
        problems = "\n".join((await client.get("/fleet")).json()["catalog_problems"])
    assert "hollow is already defined" in problems
    assert "spec.sped: unknown field" in problems


async def test_a_prompt_with_a_special_token_fails_alone_naming_the_token(fleet: Fleet) -> None:
    async with fleet.client() as client:
        image = (await client.post("/images", content=GOOD)).json()["id"]
        prompts = [{"name": "bad", "text": "Describe <image> it."}]
        body = {"images": [image], "models": ["shapes-chat"], "prompts": prompts}
        task = await ended(client, (await client.post("/jobs", json=body)).json()["id"])
    assert task["state"] == "failed"
    assert task["error"]["code"] == "bad_prompt"
    assert "<image>" in task["error"]["message"]


async def ended(client: Any, job: str) -> dict[str, Any]:
    async def over() -> Any:
        (task,) = (await client.get(f"/jobs/{job}/tasks")).json()["items"]
        return task if task["state"] in ("captioned", "failed") else None

    return dict(await eventually(over, seconds=90))
