"""Jobs: made once, whatever is repeated; ended, retried and grown as a person asks."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.api.doors import Doors, open_doors, picture

from captionfleet_api.store.tables import Job, Task


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path) as doors:
        yield doors


async def refused(doors: Doors, **body: Any) -> tuple[int, str | None, str]:
    answer = await doors.client.post("/api/v1/jobs", json=body)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json", problem
    return answer.status_code, problem.get("field"), problem["detail"]


async def count(doors: Doors, table: Any) -> int:
    async with doors.parts.database.read() as session:
        return (await session.execute(select(func.count()).select_from(table))).scalar_one()


async def test_a_job_has_a_task_for_every_picture_in_every_column(doors: Doors) -> None:
    prompts = [{"name": "brief", "text": "Be brief."}, {"name": "long", "text": "Say all."}]
    job = await doors.make_job("red", "blue", "teal", models=["alpha", "beta"], prompts=prompts)

    assert job["counts"]["pending"] == 3 * 4
    assert job["images"] == 3
    assert [(c["model"], c["prompt_name"]) for c in job["columns"]] == [
        ("alpha", "brief"), ("alpha", "long"), ("beta", "brief"), ("beta", "long"),
    ]  # fmt: skip
    rows = (await doors.get(f"/jobs/{job['id']}/grid"))["items"]
    assert [row["position"] for row in rows] == [0, 1, 2]
    assert all(len(row["cells"]) == 4 for row in rows)


async def test_without_prompts_there_is_one_column_with_the_models_own_way(doors: Doors) -> None:
    job = await doors.make_job("red", models=["alpha", "alpha"])
    assert [(c["model"], c["prompt"]) for c in job["columns"]] == [("alpha", "")]


async def test_a_name_alone_asks_each_model_by_its_own_preset(doors: Doors) -> None:
    prompts = [{"name": "short"}, "And now?"]
    job = await doors.make_job("red", models=["alpha", "beta"], prompts=prompts)
    assert [(c["model"], c["prompt_name"], c["prompt"]) for c in job["columns"]] == [
        ("alpha", "short", "Be brief."), ("alpha", "", "And now?"),
        ("beta", "short", "In short:"), ("beta", "", "And now?"),
    ]  # fmt: skip

    more = {"models": ["alpha"], "prompts": [{"name": "long"}, {"name": "short"}]}
    grown = (await doors.client.post(f"/api/v1/jobs/{job['id']}/columns", json=more)).json()
    assert [c["prompt"] for c in grown["columns"][4:]] == ["Say all."]


async def test_a_form_names_a_preset_too(doors: Doors) -> None:
    data = {"models": "alpha", "prompt": "Why?", "preset": ["short", "long"]}
    files = {"files": ("a.png", picture())}
    answer = await doors.client.post("/api/v1/jobs", files=files, data=data)
    asked = [(c["prompt_name"], c["prompt"]) for c in answer.json()["columns"]]
    assert asked == [("", "Why?"), ("short", "Be brief."), ("long", "Say all.")]


@pytest.mark.parametrize("path", ["jobs", "captions"])
async def test_a_form_with_a_preset_that_a_model_lacks_is_told_so_in_its_own_words(
    doors: Doors, path: str
) -> None:
    data, files = {"models": "alpha", "preset": "lng"}, {"file": ("a.png", picture())}
    answer = await doors.client.post(f"/api/v1/{path}", files=files, data=data)
    problem = answer.json()
    assert (answer.status_code, problem["field"]) == (422, "preset")
    assert "has short, long): correct the name, or send a text as the prompt" in problem["detail"]


async def test_a_form_with_an_empty_preset_names_none(doors: Doors) -> None:
    data, files = {"models": "alpha", "preset": ["", " "]}, {"files": ("a.png", picture())}
    answer = await doors.client.post("/api/v1/jobs", files=files, data=data)
    asked = [(c["prompt_name"], c["prompt"]) for c in answer.json()["columns"]]
    assert asked == [("", "")]


async def test_a_preset_that_a_model_lacks_is_refused_with_those_it_has(doors: Doors) -> None:
    (red,) = await doors.upload("red")
    prompts = ["Why?", {"name": "long"}]
    status, field, detail = await refused(
        doors, images=[red], models=["alpha", "beta"], prompts=prompts
    )
    assert (status, field) == (422, "prompts.1.name")
    assert "model 'beta' has no preset 'long' (its spec.prompts has short)" in detail


async def test_equal_bytes_under_two_names_are_two_rows(doors: Doors) -> None:
    (red,) = await doors.upload("red")
    images = [{"id": red, "filename": name} for name in ("a.png", "b.png", "a.png")]
    answer = await doors.client.post("/api/v1/jobs", json={"images": images, "models": ["alpha"]})

    rows = (await doors.get(f"/jobs/{answer.json()['id']}/grid"))["items"]
    assert [row["image"]["filename"] for row in rows] == ["a.png", "b.png"]


@pytest.mark.parametrize(("pictures", "priority"), [(20, "interactive"), (21, "batch")])
async def test_few_pictures_go_first(doors: Doors, pictures: int, priority: str) -> None:
    (red,) = await doors.upload("red")
    images = [{"id": red, "filename": f"{i}.png"} for i in range(pictures)]
    answer = await doors.client.post("/api/v1/jobs", json={"images": images, "models": ["alpha"]})
    assert answer.json()["priority"] == priority
    assert answer.headers["location"] == f"/api/v1/jobs/{answer.json()['id']}"


async def test_what_cannot_be_is_refused_by_name(doors: Doors) -> None:
    (red,) = await doors.upload("red")

    status, field, detail = await refused(doors, images=[red], models=["gamma"])
    assert (status, field) == (404, "models")
    assert "alpha, beta" in detail
    status, field, _ = await refused(doors, images=[red, "unknown"], models=["alpha"])
    assert (status, field) == (422, "images.1")
    status, field, _ = await refused(doors, images=[], models=["alpha"])
    assert (status, field) == (422, "images")
    status, field, _ = await refused(doors, images=[red], models=[])
    assert (status, field) == (422, "models")
    status, field, detail = await refused(doors, images=[red], models=["alpha"], colour="red")
    assert (status, field) == (422, "colour")
    assert "unknown field" in detail


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"prompts": [5]}, "prompts.0"),
        ({"prompts": [{"txt": "hi"}]}, "prompts.0.txt"),
        ({"prompts": ["hi", {"name": " "}]}, "prompts.1"),
        ({"prompts": ["x" * 5000]}, "prompts.0.text"),
        ({"prompt": "a\x00b"}, "prompt"),
        ({"images": [{"ident": "x"}]}, "images.0.id"),
        ({"images": 7}, "images"),
        ({"models": "alpha"}, "models"),
        ({"priority": "urgent"}, "priority"),
        ({"options": [1]}, "options"),
        ({"name": "x" * 201}, "name"),
    ],
)
async def test_a_wrong_field_is_named_as_it_was_sent(
    doors: Doors, wrong: dict[str, Any], field: str
) -> None:
    body = {"images": ["x"], "models": ["alpha"]} | wrong
    status, named, _ = await refused(doors, **body)
    assert (status, named) == (422, field)


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"beams": 3}, "options.beams", "num_beams"),
        ({"num_beams": 0}, "options.num_beams", "greater than or equal to 1"),
        ({"num_beams": "3"}, "options.num_beams", "valid integer"),
        ({"temperature": float("inf")}, "options.temperature", "finite"),
        ({"do_sample": 1}, "options.do_sample", "boolean"),
    ],
)
async def test_a_wrong_option_is_named(
    doors: Doors, options: dict[str, Any], field: str, words: str
) -> None:
    files = {"files": ("a.png", picture())}
    data = {"models": "alpha", "options": json.dumps(options)}
    answer = await doors.client.post("/api/v1/jobs", files=files, data=data)
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert words in answer.json()["detail"]


async def test_options_are_one_value_however_they_are_written(doors: Doors) -> None:
    one = await doors.make_job("red", options={"temperature": 1, "top_k": 5, "seed": None})
    other = await doors.make_job("red", options={"top_k": 5, "temperature": 1.0})
    assert one["columns"][0]["options"] == other["columns"][0]["options"]
    assert one["columns"][0]["options"] == {"temperature": 1.0, "top_k": 5}


async def test_a_form_makes_a_job_and_tells_its_unusable_files(doors: Doors) -> None:
    files = [
        ("files", ("cat.png", picture("red"))),
        ("files", ("note.jpg", b"not a picture at all")),
        ("files", ("dog.png", picture("blue"))),
        ("files", ("void.png", b"")),
    ]
    data = {"models": ["alpha,beta"], "prompt": "Be brief.", "options": '{"top_k": 4}'}
    answer = await doors.client.post("/api/v1/jobs", files=files, data=data)

    job = answer.json()
    assert answer.status_code == 202
    assert job["images"] == 2
    assert [(each["filename"], each["code"]) for each in job["rejected"]] == [
        ("note.jpg", "not_an_image"), ("void.png", "empty"),
    ]  # fmt: skip
    assert [(c["model"], c["prompt"]) for c in job["columns"]] == [
        ("alpha", "Be brief."), ("beta", "Be brief."),
    ]  # fmt: skip


async def test_a_job_of_unusable_files_alone_is_complete(doors: Doors) -> None:
    files = {"files": ("note.jpg", b"not a picture at all")}
    answer = await doors.client.post("/api/v1/jobs", files=files, data={"models": "alpha"})
    assert answer.status_code == 202
    assert (answer.json()["state"], answer.json()["images"]) == ("completed", 0)


async def test_a_form_with_an_unknown_field_is_refused(doors: Doors) -> None:
    files = {"files": ("a.png", picture())}
    answer = await doors.client.post("/api/v1/jobs", files=files, data={"model": "alpha"})
    assert (answer.status_code, answer.json()["field"]) == (422, "model")


async def test_ten_equal_requests_at_once_under_one_key_make_one_job(doors: Doors) -> None:
    body = {"images": await doors.upload("red", "blue"), "models": ["alpha"]}
    key = {"idempotency-key": "once"}
    answers = await asyncio.gather(
        *(doors.client.post("/api/v1/jobs", json=body, headers=key) for _ in range(10))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await count(doors, Job), await count(doors, Task)) == (1, 2)


async def test_another_request_under_a_used_key_is_refused(doors: Doors) -> None:
    (red,) = await doors.upload("red")
    key = {"idempotency-key": "once"}
    body = {"images": [red], "models": ["alpha"]}
    await doors.client.post("/api/v1/jobs", json=body, headers=key)
    other = await doors.client.post("/api/v1/jobs", json=body | {"models": ["beta"]}, headers=key)
    assert (other.status_code, other.json()["field"]) == (422, "Idempotency-Key")


@pytest.mark.parametrize("changed", ["name: short", "name: alpha"])
async def test_a_repeat_finds_its_job_after_its_preset_or_model_was_renamed(
    doors: Doors, changed: str
) -> None:
    body = {
        "images": await doors.upload("red"),
        "models": ["alpha"],
        "prompts": [{"name": "short"}],
    }
    key = {"idempotency-key": "once"}
    first = await doors.client.post("/api/v1/jobs", json=body, headers=key)
    manifests = doors.parts.settings.catalog / "models.yaml"
    manifests.write_text(manifests.read_text().replace(changed, "name: renamed"))
    doors.parts.catalog.refresh()  # type: ignore[attr-defined]

    repeat = await doors.client.post("/api/v1/jobs", json=body, headers=key)
    assert (repeat.status_code, repeat.json()["id"]) == (202, first.json()["id"])
    fresh = await doors.client.post("/api/v1/jobs", json=body)
    assert fresh.status_code == (404 if "alpha" in changed else 422)


async def test_too_large_jobs_and_too_much_work_are_refused(tmp_path: Path) -> None:
    async with open_doors(tmp_path, job_tasks=3, open_tasks=3) as doors:
        images = await doors.upload("red", "blue")
        status, field, _ = await refused(doors, images=images, models=["alpha", "beta"])
        assert (status, field) == (422, "images")
        await doors.make_job("red", "blue", "teal")
        busy = await doors.client.post("/api/v1/jobs", json={"images": images, "models": ["alpha"]})
        assert busy.status_code == 429
        assert int(busy.headers["retry-after"]) > 0


async def test_jobs_are_listed_newest_first_page_by_page(doors: Doors) -> None:
    made = [(await doors.make_job("red"))["id"] for _ in range(5)]
    first = await doors.get("/jobs", limit=3)
    second = await doors.get("/jobs", limit=3, cursor=first["next"])
    assert [job["id"] for job in first["items"] + second["items"]] == made[::-1]
    assert second["next"] is None


@pytest.mark.parametrize("cursor", ["%%%", "a", "é", "LTE"])
async def test_a_made_up_cursor_is_refused(doors: Doors, cursor: str) -> None:
    job = await doors.make_job("red")
    answer = await doors.client.get(f"/api/v1/jobs/{job['id']}/grid", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["field"]) == (422, "cursor")


async def test_tasks_are_found_by_column_state_and_text(doors: Doors) -> None:
    job = await doors.make_job("red", "blue", models=["alpha", "beta"])
    one, two, three, four = [task["id"] for task in await doors.tasks(job["id"])]
    await doors.caption(one, text="a 100% red square")
    await doors.fail(two)
    await doors.queue(three)

    async def found(**wanted: str) -> list[str]:
        return [t["id"] for t in (await doors.get(f"/jobs/{job['id']}/tasks", **wanted))["items"]]

    assert await found(q="100%") == [one]
    assert await found(q="%") == [one]
    assert await found(state="failed") == [two]
    assert await found(state="queued") == [three]
    assert await found(model="beta") == [two, four]
    assert await found(column=job["columns"][0]["id"]) == [one, three]
    bad = await doors.client.get(f"/api/v1/jobs/{job['id']}/tasks", params={"state": "lost"})
    assert (bad.status_code, bad.json()["field"]) == (422, "state")


async def test_a_waiting_task_says_why_and_an_answered_one_what(doors: Doors) -> None:
    job = await doors.make_job("red", "blue", "teal")
    one, two, three = [task["id"] for task in await doors.tasks(job["id"])]
    await doors.caption(one, text="a square", seconds=0.25)
    await doors.fail(two, code="timeout", message="took too long")

    captioned, failed, waiting = await doors.tasks(job["id"])
    assert captioned["caption"] == {
        "text": "a square", "finish": "stop", "seconds": 0.25, "tokens": 3, "revision": "r1",
        "cached": False, "worker": "w",
    }  # fmt: skip
    assert failed["error"] == {"code": "timeout", "message": "took too long"}
    assert (waiting["state"], waiting["caption"], waiting["error"]) == ("pending", None, None)
    assert "broker" in waiting["reason"] or "operator" in waiting["reason"]
    assert captioned["reason"] is None
    assert three == waiting["id"]


async def test_the_summary_counts_and_takes_medians(doors: Doors) -> None:
    job = await doors.make_job("red", "blue", "teal", "navy")
    tasks = [task["id"] for task in await doors.tasks(job["id"])]
    await doors.caption(tasks[0], text="one", seconds=0.1)
    await doors.caption(tasks[1], text="one two three four", seconds=0.4)
    await doors.fail(tasks[2])
    await doors.client.put(f"/api/v1/tasks/{tasks[0]}/star")

    (column,) = (await doors.get(f"/jobs/{job['id']}/summary"))["columns"]
    assert column == {
        "id": job["columns"][0]["id"], "captioned": 2, "failed": 1, "waiting": 1,
        "median_seconds": 0.25, "median_words": 2.5, "starred": 1,
    }  # fmt: skip
