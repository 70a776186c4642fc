"""Captions as files: complete, harmless in a spreadsheet, harmless to unpack."""

import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.api.doors import Doors, open_doors

from captionfleet_api.jobs import export
from captionfleet_api.jobs.export import Names, guarded, safe_name


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path) as doors:
        yield doors


async def captioned_job(doors: Doors, names: list[str], models: list[str]) -> str:
    """A job of one picture under these names; the captions begin with an equals sign."""
    (red,) = await doors.upload("red")
    images = [{"id": red, "filename": name} for name in names]
    answer = await doors.client.post("/api/v1/jobs", json={"images": images, "models": models})
    job = str(answer.json()["id"])
    for task in await doors.tasks(job):
        await doors.caption(task["id"], text=f"=1+1 {task['model']}\tsees, né")
    return job


async def exported(doors: Doors, job: str, format: str) -> bytes:
    answer = await doors.client.get(f"/api/v1/jobs/{job}/export", params={"format": format})
    assert answer.status_code == 200
    assert "attachment" in answer.headers["content-disposition"]
    return answer.content


async def test_jsonl_has_a_line_for_every_task(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_PAGE", 2)
    job = await captioned_job(doors, ["a.png", "b.png", "c.png"], ["alpha", "beta"])
    lines = (await exported(doors, job, "jsonl")).decode().splitlines()
    assert [json.loads(line) for line in lines] == await doors.tasks(job)


async def test_csv_runs_no_formula_and_keeps_every_letter(doors: Doors) -> None:
    job = await captioned_job(doors, ["@cmd.png", "b.png"], ["alpha"])
    await doors.client.post(f"/api/v1/jobs/{job}/columns", json={"model": "beta"})
    text = (await exported(doors, job, "csv")).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["filename"] for row in rows] == ["'@cmd.png", "b.png", "'@cmd.png", "b.png"]
    assert rows[0]["caption"] == "'=1+1 alpha\tsees, né"
    assert [row["state"] for row in rows] == ["captioned", "captioned", "pending", "pending"]
    assert rows[0]["seconds"] == "0.5"


async def test_txt_has_a_line_for_every_caption(doors: Doors) -> None:
    job = await captioned_job(doors, ["a.png"], ["alpha", "beta"])
    assert (await exported(doors, job, "txt")).decode().splitlines() == [
        "a.png\talpha\t=1+1 alpha sees, né", "a.png\tbeta\t=1+1 beta sees, né",
    ]  # fmt: skip


async def test_a_zip_of_one_column_has_a_text_beside_each_picture(doors: Doors) -> None:
    job = await captioned_job(doors, ["a.png", "../../etc/A.jpg", "..", "sub/b.png"], ["alpha"])
    with zipfile.ZipFile(io.BytesIO(await exported(doors, job, "zip"))) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert archive.read("a.txt").decode() == "=1+1 alpha\tsees, né\n"
    assert names[:2] == ["a.txt", "A-2.txt"]
    assert names[3] == "b.txt"
    assert all("/" not in name and ".." not in name for name in names)


async def test_a_zip_of_several_columns_has_a_folder_for_each(doors: Doors) -> None:
    job = await captioned_job(doors, ["a.png"], ["alpha", "beta"])
    await doors.client.post(
        f"/api/v1/jobs/{job}/columns", json={"model": "alpha", "prompt": "../up"}
    )
    for task in await doors.tasks(job):
        await doors.caption(task["id"])
    with zipfile.ZipFile(io.BytesIO(await exported(doors, job, "zip"))) as archive:
        assert archive.namelist() == ["alpha/a.txt", "beta/a.txt", "alpha .._up/a.txt"]


async def test_an_unknown_format_is_refused_by_name(doors: Doors) -> None:
    job = await captioned_job(doors, ["a.png"], ["alpha"])
    answer = await doors.client.get(f"/api/v1/jobs/{job}/export", params={"format": "pdf"})
    assert (answer.status_code, answer.json()["field"]) == (422, "format")


@given(st.text())
def test_no_cell_begins_like_a_formula(text: str) -> None:
    assert not str(guarded(text)).startswith(("=", "+", "-", "@", "\t", "\r"))


@given(st.lists(st.text(), max_size=30))
def test_files_are_harmless_and_each_has_its_own_name(names: list[str]) -> None:
    free = Names()
    given_names = [free.free(safe_name(name) or "picture", ".txt") for name in names]
    assert len({name.lower() for name in given_names}) == len(names)
    assert all("/" not in name and "\\" not in name for name in given_names)
    assert all(not name.startswith(".") and len(name) < 130 for name in given_names)
