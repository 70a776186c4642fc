"""Sidecars: the right text beside the right picture, and nobody's file overwritten."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from tests.scripted_server import scripted_server

from captionfleet.client import Client, Job
from captionfleet_cli import local_files
from captionfleet_cli.results.sidecars import suffixes, write_sidecars


def job(*columns: tuple[str, str]) -> Job:
    made = [
        {"id": f"c{number}", "model": model, "prompt": prompt}
        for number, (model, prompt) in enumerate(columns)
    ]
    return Job.model_validate({"id": "job-1", "name": "", "state": "completed", "columns": made})


def captioned(filename: str, text: str, column: str = "c0") -> dict[str, Any]:
    image = {"id": "i", "sha256": "s", "width": 1, "height": 1, "filename": filename}
    return {"id": "t", "job": "job-1", "image": image, "column": column, "model": "m",
            "state": "captioned", "caption": {"text": text}}  # fmt: skip


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Of a server whose job has three captions, one under a name that leads elsewhere."""

    async def tasks(request: Request) -> Response:
        items = [captioned("a.jpg", "a cat"), captioned("sub/b.png", "a dog"),
                 captioned("../outside.png", "a thief")]  # fmt: skip
        return JSONResponse({"items": items, "next": None})

    async with scripted_server({"GET /api/v1/jobs/job-1/tasks": tasks}) as url, Client(url) as each:
        yield each


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for name in ("a.jpg", "a.png", "sub/b.png", "../outside.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_one_column_gives_plain_txt() -> None:
    assert suffixes([job(("blip", ""))]) == {"c0": ".txt"}


def test_several_columns_are_told_apart_by_model_and_prompt() -> None:
    several = job(("blip", ""), ("chat", "How many?"), ("chat", ""))
    assert suffixes([several]) == {"c0": ".blip.txt", "c1": ".chat.How-many.txt",
                                   "c2": ".chat.2.txt"}  # fmt: skip


def test_a_preset_goes_by_its_name() -> None:
    asked = job(("chat", ""), ("chat", "Describe the image briefly."))
    preset = asked.columns[1].model_copy(update={"prompt_name": "brief"})
    named = asked.model_copy(update={"columns": [asked.columns[0], preset]})
    assert suffixes([named])["c1"] == ".chat.brief.txt"


def test_two_texts_under_one_name_are_numbered() -> None:
    asked = job(("chat", "Be brief."), ("chat", "In short:"))
    columns = [each.model_copy(update={"prompt_name": "brief"}) for each in asked.columns]
    endings = suffixes([asked.model_copy(update={"columns": columns})])
    assert endings == {"c0": ".chat.brief-1.txt", "c1": ".chat.brief-2.txt"}


async def test_captions_lie_beside_their_pictures(client: Client, pictures: Path) -> None:
    tally = await write_sidecars(client, [job(("m", ""))], pictures, overwrite=False)
    assert (pictures / "a.txt").read_text() == "a cat\n"
    assert (pictures / "sub" / "b.txt").read_text() == "a dog\n"
    assert tally.counts["written"] == 2


async def test_a_name_that_leads_out_of_the_folder_is_not_followed(
    client: Client, pictures: Path
) -> None:
    tally = await write_sidecars(client, [job(("m", ""))], pictures, overwrite=True)
    assert not (pictures.parent / "outside.txt").exists()
    assert tally.examples["without a known place"] == ["../outside.png"]


async def test_a_persons_text_is_kept_unless_told_otherwise(client: Client, pictures: Path) -> None:
    (pictures / "a.txt").write_text("my own words")
    kept = await write_sidecars(client, [job(("m", ""))], pictures, overwrite=False)
    assert (pictures / "a.txt").read_text() == "my own words"
    assert kept.examples["kept"] == [str(pictures / "a.txt")]
    await write_sidecars(client, [job(("m", ""))], pictures, overwrite=True)
    assert (pictures / "a.txt").read_text() == "a cat\n"


async def test_writing_again_changes_nothing(client: Client, pictures: Path) -> None:
    await write_sidecars(client, [job(("m", ""))], pictures, overwrite=False)
    again = await write_sidecars(client, [job(("m", ""))], pictures, overwrite=False)
    assert again.counts["unchanged"] == 2


async def test_two_pictures_never_share_one_text(pictures: Path) -> None:
    async def tasks(request: Request) -> Response:
        items = [captioned("a.jpg", "a cat"), captioned("a.png", "a bird")]
        return JSONResponse({"items": items, "next": None})

    async with scripted_server({"GET /api/v1/jobs/job-1/tasks": tasks}) as url, Client(url) as to:
        tally = await write_sidecars(to, [job(("m", ""))], pictures, overwrite=True)
    assert (pictures / "a.txt").read_text() == "a cat\n"
    assert tally.counts["clash"] == 1


async def test_where_submitted_pictures_lie_is_remembered(
    client: Client, pictures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    local_files.remember_sources("job-1", [("i", "a.jpg", pictures / "a.jpg")])
    tally = await write_sidecars(client, [job(("m", ""))], None, overwrite=False)
    assert (pictures / "a.txt").read_text() == "a cat\n"
    assert tally.counts == {"written": 1, "without a known place": 2}
