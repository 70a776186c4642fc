"""The client: survives restarts and overload, follows pages and streams, tells problems."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from tests.scripted_server import Answer, scripted_server

from captionfleet.client import (
    ApiProblem,
    Client,
    Picture,
    Prompt,
    Refused,
    ServerUnreachable,
    Uploaded,
)

JOB = {"id": "job-1", "name": "holiday", "state": "running"}


def task(number: int, state: str = "captioned") -> dict[str, Any]:
    image = {"id": "a" * 64, "sha256": "b" * 64, "width": 1, "height": 1, "filename": f"{number}"}
    return {"id": f"task-{number}", "job": "job-1", "image": image, "column": "c", "model": "m",
            "state": state}  # fmt: skip


def one_after_the_other(*answers: Response) -> Answer:
    """Give each answer once, the last one for ever."""
    left = list(answers)

    async def answer(request: Request) -> Response:
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


async def test_a_busy_server_is_asked_again() -> None:
    busy = Response(status_code=503, headers={"Retry-After": "0"})
    door = one_after_the_other(busy, busy, JSONResponse(JOB))
    async with scripted_server({"GET /api/v1/jobs/job-1": door}) as url, Client(url) as client:
        assert (await client.job("job-1")).name == "holiday"


async def test_a_server_that_stays_busy_is_told_in_its_own_words() -> None:
    busy = JSONResponse({"title": "Busy", "detail": "1,000,000 tasks are open"}, 429)
    door = one_after_the_other(busy)
    async with (
        scripted_server({"GET /api/v1/jobs/job-1": door}) as url,
        Client(url, patience=0.3) as client,
    ):
        with pytest.raises(ApiProblem, match="tasks are open") as caught:
            await client.job("job-1")
    assert caught.value.status == 429


async def test_a_problem_names_its_field() -> None:
    problem = {
        "title": "Unprocessable",
        "status": 422,
        "detail": "no such option",
        "field": "options",
    }
    door = one_after_the_other(JSONResponse(problem, 422))
    async with scripted_server({"POST /api/v1/jobs": door}) as url, Client(url) as client:
        with pytest.raises(ApiProblem) as caught:
            await client.create_job(["a"], ["m"])
    assert (caught.value.status, caught.value.field) == (422, "options")


async def test_a_prompt_that_is_a_name_alone_is_sent_without_a_text() -> None:
    sent: list[Any] = []

    async def keep(request: Request) -> Response:
        sent.append(await request.json())
        return JSONResponse(JOB, 202)

    async with scripted_server({"POST /api/v1/jobs": keep}) as url, Client(url) as client:
        await client.create_job(["a"], ["m"], prompts=["", Prompt(name="short")])
    assert sent[0]["prompts"] == [{"text": ""}, {"name": "short"}]


async def test_an_error_page_of_a_proxy_is_a_problem_too() -> None:
    door = one_after_the_other(Response("<h1>Bad gateway</h1>", 502))
    async with scripted_server({"GET /api/v1/jobs/job-1": door}) as url, Client(url) as client:
        with pytest.raises(ApiProblem, match="Bad gateway"):
            await client.job("job-1")


async def test_an_address_where_nobody_listens_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with Client(f"http://127.0.0.1:{unused.getsockname()[1]}", patience=0.2) as client:
            with pytest.raises(ServerUnreachable, match="no answer from"):
                await client.job("job-1")


async def test_the_token_travels_as_bearer() -> None:
    async def door(request: Request) -> Response:
        return JSONResponse(JOB | {"name": request.headers["authorization"]})

    async with (
        scripted_server({"GET /api/v1/jobs/job-1": door}) as url,
        Client(url, "secret-token") as client,
    ):
        assert (await client.job("job-1")).name == "Bearer secret-token"


async def test_a_job_whose_answer_was_lost_is_asked_for_under_the_same_key() -> None:
    keys: list[str] = []

    async def door(request: Request) -> Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            return StreamingResponse(broken_off(b"{"), headers={"Content-Length": "100"})
        return JSONResponse(JOB, 202)

    async with scripted_server({"POST /api/v1/jobs": door}) as url, Client(url) as client:
        assert (await client.create_job(["a"], ["m"])).id == "job-1"
    assert len(keys) == 2 and len(set(keys)) == 1


async def test_what_must_not_happen_twice_is_not_repeated() -> None:
    calls: list[str] = []

    async def door(request: Request) -> Response:
        calls.append(request.method)
        return StreamingResponse(broken_off(b"{"), headers={"Content-Length": "100"})

    async with (
        scripted_server({"POST /api/v1/jobs/job-1/columns": door}) as url,
        Client(url) as client,
    ):
        with pytest.raises(ServerUnreachable):
            await client.columns("job-1", ["m"])
    assert calls == ["POST"]


async def test_pages_are_followed_to_the_end() -> None:
    async def door(request: Request) -> Response:
        if request.query_params.get("cursor") == "next-page":
            return JSONResponse({"items": [task(3)], "next": None})
        return JSONResponse({"items": [task(1), task(2)], "next": "next-page"})

    async with (
        scripted_server({"GET /api/v1/jobs/job-1/tasks": door}) as url,
        Client(url) as client,
    ):
        found = [each.id async for each in client.tasks("job-1")]
    assert found == ["task-1", "task-2", "task-3"]


async def test_a_broken_event_stream_goes_on_where_it_broke() -> None:
    asked_from: list[str] = []

    async def door(request: Request) -> Response:
        asked_from.append(request.headers["last-event-id"])
        if len(asked_from) == 1:
            return StreamingResponse(broken_off(event(7, "task", task(1))))
        rest = event(8, "task", task(2)) + b": still here\n\n" + event(9, "done", JOB)
        return Response(rest, media_type="text/event-stream")

    async with (
        scripted_server({"GET /api/v1/jobs/job-1/events": door}) as url,
        Client(url) as client,
    ):
        seen = [(each.id, each.kind) async for each in client.events("job-1")]
    assert seen == [("7", "task"), ("8", "task"), ("9", "done")]
    assert asked_from == ["0", "7"]


async def test_many_pictures_are_sent_in_order_and_a_few_at_a_time(tmp_path: Path) -> None:
    door, most = counting_door()
    async with scripted_server({"POST /api/v1/images": door}) as url, Client(url) as client:
        pictures = some_pictures(tmp_path, 40)
        sent = [each async for each in client.upload_all(pictures, at_once=8)]
    assert [each.picture for each in sent] == pictures
    assert all(isinstance(each, Uploaded) for each in sent)
    assert 2 <= most() <= 8


async def test_an_unusable_file_does_not_stop_the_others(tmp_path: Path) -> None:
    pictures = some_pictures(tmp_path, 3)
    pictures[1].path.unlink()

    async def door(request: Request) -> Response:
        if request.query_params["filename"] == "2.png":
            return JSONResponse({"detail": "this is text", "code": "not_an_image"}, 415)
        return JSONResponse(image_answer(), 201)

    async with scripted_server({"POST /api/v1/images": door}) as url, Client(url) as client:
        first, gone, text = [each async for each in client.upload_all(pictures)]
    assert isinstance(first, Uploaded)
    assert isinstance(gone, Refused) and gone.code == "unreadable"
    assert isinstance(text, Refused) and (text.code, text.message) == (
        "not_an_image",
        "this is text",
    )


async def test_a_known_picture_is_not_sent_again(tmp_path: Path) -> None:
    [picture] = some_pictures(tmp_path, 1)
    known = Picture(picture.path, picture.filename, "f" * 64)
    door = one_after_the_other(Response())
    async with (
        scripted_server({"HEAD /api/v1/images/{id}": door}) as url,
        Client(url) as client,
    ):
        assert [each async for each in client.upload_all([known])] == [Uploaded(known, "f" * 64)]


async def broken_off(start: bytes) -> AsyncIterator[bytes]:
    """A body that begins and whose connection then dies."""
    yield start
    raise ConnectionAbortedError


def event(number: int, kind: str, subject: dict[str, Any]) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(subject)}\n\n".encode()


def image_answer() -> dict[str, Any]:
    return {"id": "a" * 64, "sha256": "b" * 64, "width": 1, "height": 1, "filename": ""}


def some_pictures(folder: Path, count: int) -> list[Picture]:
    for number in range(count):
        (folder / f"{number}.png").write_bytes(b"png")
    return [Picture(folder / f"{number}.png", f"{number}.png") for number in range(count)]


def counting_door() -> tuple[Answer, Callable[[], int]]:
    """A door for uploads that knows how many were inside at once."""
    inside, most = 0, 0
    several = asyncio.Event()

    async def door(request: Request) -> Response:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if inside > 1:
            several.set()
        await several.wait()  # the first stays until it is not alone
        await request.body()
        inside -= 1
        return JSONResponse(image_answer(), 201)

    return door, lambda: most
