"""Every error is a problem (RFC 9457) with words, and none tells what the code looks like."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.doors import Doors, open_doors, picture
from tests.api.flow_parts import counted

from captionfleet_api.images.pictures import Pictures


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path) as doors:
        yield doors


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/nowhere", 404),
        ("PATCH", "/api/v1/jobs", 405),
        ("GET", "/api/v1/jobs/unknown", 404),
        ("GET", "/api/v1/jobs/unknown/tasks", 404),
        ("GET", "/api/v1/jobs/unknown/grid", 404),
        ("GET", "/api/v1/jobs/unknown/summary", 404),
        ("GET", "/api/v1/jobs/unknown/events", 404),
        ("GET", "/api/v1/jobs/unknown/export", 404),
        ("POST", "/api/v1/jobs/unknown/cancel", 404),
        ("POST", "/api/v1/jobs/unknown/retry", 404),
        ("GET", "/api/v1/tasks/unknown", 404),
        ("POST", "/api/v1/tasks/unknown/retry", 404),
        ("GET", "/api/v1/jobs?limit=0", 422),
        ("GET", "/api/v1/jobs?limit=501", 422),
        ("GET", "/api/v1/jobs/%00", 422),
        ("GET", "/api/v1/jobs/unknown/tasks?q=%00", 422),
    ],
)
async def test_what_is_not_there_is_a_problem(
    doors: Doors, method: str, path: str, status: int
) -> None:
    answer = await doors.client.request(method, path)
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, body["status"]) == (status, status)
    assert {"type", "title", "detail"} <= body.keys()


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/captions"])
async def test_a_body_that_is_no_json_is_a_problem(doors: Doors, path: str) -> None:
    answer = await doors.client.post(path, content=b"{", headers={"content-type": "text/json"})
    assert (answer.status_code, "JSON" in answer.json()["detail"]) == (422, True)


async def test_a_failure_of_ours_tells_a_request_id_and_no_code(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(Pictures, "find", broken)
    answer = await doors.client.post("/api/v1/images", content=picture())
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_lost_blob_asks_for_another_upload(doors: Doors) -> None:
    (red,) = await doors.upload("red")
    image = await doors.parts.pictures.find(red)
    assert image
    await doors.parts.blobs.delete(image.picture_sha256)
    answer = await doors.client.get(f"/api/v1/images/{red}")
    assert (answer.status_code, "upload" in answer.json()["detail"]) == (410, True)


async def test_openapi_describes_every_door_with_examples(doors: Doors) -> None:
    described = await doors.get("/openapi.json")
    assert {"/images", "/jobs", "/captions", "/models/{name}", "/fleet"} <= described[
        "paths"
    ].keys()
    body = described["paths"]["/jobs"]["post"]["requestBody"]["content"]
    assert body["application/json"]["schema"]["examples"]
    assert "files" in body["multipart/form-data"]["schema"]["properties"]
    assert "$ref" not in str(body)


async def test_metrics_count_tasks_requests_and_rejected_files(doors: Doors) -> None:
    def refused() -> float:
        return counted("captionfleet_rejected_files_total", code="not_an_image")

    def answered(status: str) -> float:
        labels = {"method": "POST", "route": "/api/v1/images", "status": status}
        return counted("captionfleet_http_request_seconds_count", **labels)

    unused, taken, unfit = refused(), answered("201"), answered("415")
    await doors.make_job("red", "blue")
    await doors.client.post("/api/v1/images", content=b"text")
    lines = (await doors.client.get("/metrics")).text.splitlines()
    assert 'captionfleet_tasks{model="alpha",state="pending"} 2.0' in lines
    assert 'captionfleet_tasks{model="alpha",state="captioned"} 0.0' in lines
    assert (refused(), answered("201"), answered("415")) == (unused + 1, taken + 2, unfit + 1)
    assert "# TYPE captionfleet_results_total counter" in lines
