"""What becomes of a job: starred, cancelled, retried, grown, deleted; and POST /captions."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.api.doors import Doors, open_doors, picture
from tests.conftest import eventually

from captionfleet_api.store.tables import Attempt, Task


@pytest.fixture
async def doors(tmp_path: Path, database_url: str) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path, database_url=database_url) as doors:
        yield doors


async def count(doors: Doors, table: Any) -> int:
    async with doors.parts.database.read() as session:
        return (await session.execute(select(func.count()).select_from(table))).scalar_one()


async def test_a_star_is_kept_until_it_is_taken_back(doors: Doors) -> None:
    job = await doors.make_job("red")
    (task,) = await doors.tasks(job["id"])
    path = f"/api/v1/tasks/{task['id']}/star"
    assert (await doors.client.put(path)).json()["starred"] is True
    assert (await doors.client.put(path)).json()["starred"] is True
    assert (await doors.client.delete(path)).json()["starred"] is False
    assert (await doors.client.put("/api/v1/tasks/unknown/star")).status_code == 404


async def test_cancel_ends_what_is_open_and_keeps_what_is_there(doors: Doors) -> None:
    job = await doors.make_job("red", "blue", "teal")
    one, two, _ = [task["id"] for task in await doors.tasks(job["id"])]
    await doors.caption(one)
    await doors.queue(two)

    cancelled = (await doors.client.post(f"/api/v1/jobs/{job['id']}/cancel")).json()
    again = (await doors.client.post(f"/api/v1/jobs/{job['id']}/cancel")).json()
    assert cancelled["state"] == "cancelled"
    assert (cancelled["counts"]["captioned"], cancelled["counts"]["cancelled"]) == (1, 2)
    assert again == cancelled


async def test_retry_tries_what_failed_again_and_forgets_its_tokens(doors: Doors) -> None:
    job = await doors.make_job("red", "blue", models=["alpha", "beta"])
    tasks = [task["id"] for task in await doors.tasks(job["id"])]
    await doors.fail(*tasks[:3])
    await doors.caption(tasks[3])
    async with doors.parts.database.write() as session:
        session.add(Attempt(token="t", task=tasks[0], model="alpha", lane="model", created_at=0))
    column = job["columns"][0]["id"]

    retried = await doors.client.post(f"/api/v1/jobs/{job['id']}/retry", json={"column": column})
    assert retried.json()["state"] == "running"
    states = [task["state"] for task in await doors.tasks(job["id"])]
    assert states == ["pending", "failed", "pending", "captioned"]
    assert await count(doors, Attempt) == 0
    everything = await doors.client.post(f"/api/v1/jobs/{job['id']}/retry")
    assert everything.json()["counts"]["failed"] == 0


async def test_one_task_is_retried_but_never_a_caption(doors: Doors) -> None:
    job = await doors.make_job("red", "blue")
    one, two = [task["id"] for task in await doors.tasks(job["id"])]
    await doors.fail(one)
    await doors.caption(two)
    assert (await doors.client.post(f"/api/v1/tasks/{one}/retry")).json()["state"] == "pending"
    assert (await doors.client.post(f"/api/v1/tasks/{two}/retry")).status_code == 409


async def test_columns_grow_a_finished_job(doors: Doors) -> None:
    job = await doors.make_job("red", "blue")
    await doors.caption(*[task["id"] for task in await doors.tasks(job["id"])])
    assert (await doors.get(f"/jobs/{job['id']}"))["state"] == "completed"

    more = {"models": ["alpha", "beta"], "prompt": "Be brief."}
    path = f"/api/v1/jobs/{job['id']}/columns"
    grown = (await doors.client.post(path, json=more)).json()
    assert grown["state"] == "running"
    assert (grown["counts"]["captioned"], grown["counts"]["pending"]) == (2, 4)
    assert [column["position"] for column in grown["columns"]] == [0, 1, 2]
    assert (await doors.client.post(path, json=more)).status_code == 409


async def test_a_deleted_job_leaves_nothing(doors: Doors) -> None:
    kept = await doors.make_job("red")
    job = await doors.make_job("red", "blue")
    assert (await doors.client.delete(f"/api/v1/jobs/{job['id']}")).status_code == 204
    assert (await doors.client.get(f"/api/v1/jobs/{job['id']}")).status_code == 404
    assert (await doors.client.delete(f"/api/v1/jobs/{job['id']}")).status_code == 404
    assert len(await doors.tasks(kept["id"])) == await count(doors, Task) == 1


async def test_captions_waits_for_all_answers_of_one_picture(doors: Doors) -> None:
    form = {"files": {"file": ("cat.png", picture())}, "data": {"models": ["alpha", "beta"]}}
    asked = asyncio.create_task(doors.client.post("/api/v1/captions?wait=60", **form))  # type: ignore[arg-type]
    job = await first_job(doors)
    await doors.caption(*[task["id"] for task in await doors.tasks(job)], text="a square")

    answer = await asked
    assert answer.status_code == 200
    assert answer.json()["job"]["state"] == "completed"
    assert {task["caption"]["text"] for task in answer.json()["tasks"]} == {"a square"}


async def test_when_the_wait_ends_captions_answers_with_what_there_is(doors: Doors) -> None:
    (red,) = await doors.upload("red")
    body = {"image": red, "model": "alpha"}
    answer = await doors.client.post("/api/v1/captions?wait=0", json=body)
    assert answer.status_code == 202
    assert [task["state"] for task in answer.json()["tasks"]] == ["pending"]


async def test_captions_of_an_unusable_picture_is_a_problem(doors: Doors) -> None:
    form = {"files": {"file": ("cat.png", b"no")}, "data": {"models": "alpha"}}
    answer = await doors.client.post("/api/v1/captions", **form)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (415, "not_an_image")


async def first_job(doors: Doors) -> str:
    async def some() -> list[Any]:
        jobs: list[Any] = (await doors.get("/jobs"))["items"]
        return jobs

    return str((await eventually(some))[0]["id"])
