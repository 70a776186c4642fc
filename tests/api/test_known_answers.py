"""What was answered before is filled in when a job is made, and marked so."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.doors import Doors, open_doors

from captionfleet.messages import Copy, CopyState, Heartbeat, Outcome, ResultMessage
from captionfleet_api.jobs.known_captions import Answered, remember


@pytest.fixture
async def doors(tmp_path: Path, database_url: str) -> AsyncIterator[Doors]:
    """A worker has alpha loaded, in revision r1."""
    async with open_doors(tmp_path, database_url=database_url) as doors:
        fingerprint = doors.parts.catalog.models()["alpha"].spec.fingerprint()
        copy = Copy(model="alpha", state=CopyState.READY, fingerprint=fingerprint, revision="r1",
                    consuming=True)  # fmt: skip
        beat = Heartbeat(
            worker="w", pool="p", incarnation="i", host="h", pid=1, device="CPU", memory_total=1,
            memory_used=0, sent_at=0, copies=[copy],
        )  # fmt: skip
        doors.parts.fleet_view.hear(beat)
        yield doors


async def answered_before(doors: Doors, image: str, text: str, **asked: Any) -> None:
    row = await doors.parts.pictures.find(image)
    assert row
    result = ResultMessage(
        task="t", token="k", model="alpha", sha256=row.picture_sha256, outcome=Outcome.CAPTIONED,
        worker="w", revision="r1", text=text, finish="stop", seconds=0.5, tokens=4,
    )  # fmt: skip
    async with doors.parts.database.write() as session:
        question = {"prompt": "", "options": {}} | asked
        await remember(session, [Answered(result, **question)])


async def test_a_job_whose_answers_are_all_known_is_complete_at_once(doors: Doors) -> None:
    (red,) = await doors.upload("red")
    await answered_before(doors, red, "a red square")
    job = await doors.make_job("red")
    (task,) = await doors.tasks(job["id"])

    assert (job["state"], job["counts"]["captioned"]) == ("completed", 1)
    assert (task["caption"]["text"], task["caption"]["cached"]) == ("a red square", True)
    assert task["caption"]["revision"] == "r1"


async def test_only_the_very_same_question_is_known(doors: Doors) -> None:
    (red,) = await doors.upload("red")
    await answered_before(doors, red, "a red square", options={"top_k": 3})
    job = await doors.make_job("red", "blue", models=["alpha", "beta"], options={"top_k": 3})

    assert job["state"] == "running"
    assert [task["state"] for task in await doors.tasks(job["id"])] == [
        "captioned", "pending", "pending", "pending",
    ]  # fmt: skip
    other = await doors.make_job("red", options={"top_k": 4})
    assert other["counts"]["pending"] == 1


async def test_known_answers_fill_new_columns_too(doors: Doors) -> None:
    (red,) = await doors.upload("red")
    await answered_before(doors, red, "brief", prompt="Be brief.")
    job = await doors.make_job("red")
    path = f"/api/v1/jobs/{job['id']}/columns"
    grown = (await doors.client.post(path, json={"model": "alpha", "prompt": "Be brief."})).json()
    assert (grown["state"], grown["counts"]["captioned"]) == ("running", 1)


async def test_a_retry_asks_the_model_and_not_the_cache(doors: Doors) -> None:
    job = await doors.make_job("red")
    (task,) = await doors.tasks(job["id"])
    await doors.fail(task["id"])
    await answered_before(doors, task["image"]["id"], "a red square")
    again = await doors.client.post(f"/api/v1/tasks/{task['id']}/retry")
    assert again.json()["state"] == "pending"
