"""`python -m captionfleet_api` as a process: ready without a broker, gone in order."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.api.doors import MANIFESTS, picture
from tests.conftest import eventually

from captionfleet.lifeline import LIFELINE_VARIABLE

pytestmark = pytest.mark.services  # engines and programs are processes

NO_BROKER = "amqp://nobody:nothing@127.0.0.1:9/"


@dataclass
class Program:
    process: asyncio.subprocess.Process
    url: str

    @property
    def doors(self) -> httpx.AsyncClient:
        # A connection that lay idle while a test was busy may just be being closed by the server.
        never_idle = httpx.Limits(max_keepalive_connections=0)
        return httpx.AsyncClient(base_url=f"{self.url}api/v1", timeout=30, limits=never_idle)


def environment(folder: Path, **settings: str) -> dict[str, str]:
    (folder / "catalog").mkdir(exist_ok=True)
    (folder / "catalog" / "models.yaml").write_text(MANIFESTS)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CAPTIONFLEET_")}
    return kept | {
        "RABBITMQ_URL": NO_BROKER,
        "CAPTIONFLEET_DATA": str(folder / "data"),
        "CAPTIONFLEET_CATALOG": str(folder / "catalog"),
        "CAPTIONFLEET_PORT": "0",
        **settings,
    }


async def start(
    settings: dict[str, str], *arguments: str, pass_fds: tuple[int, ...] = ()
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "captionfleet_api", *arguments, env=settings, pass_fds=pass_fds,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@asynccontextmanager
async def running(settings: dict[str, str], **more: tuple[int, ...]) -> AsyncIterator[Program]:
    process = await start(settings, **more)
    assert process.stdout
    try:
        line = (await process.stdout.readline()).decode()
        assert line.startswith("ready http://"), (line, await process.communicate())
        yield Program(process, line.split()[1])
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_it_takes_work_without_a_broker_and_says_so(tmp_path: Path) -> None:
    async with running(environment(tmp_path)) as program, program.doors as doors:
        image = (await doors.post("/images", content=picture())).json()["id"]
        job = (await doors.post("/jobs", json={"images": [image], "models": ["alpha"]})).json()
        (task,) = (await doors.get(f"/jobs/{job['id']}/tasks")).json()["items"]
        assert "broker cannot be reached" in task["reason"]
        ready = (await doors.get(f"{program.url}readyz")).json()
        assert (ready["database"], "reached" in ready["broker"]) == ("ok", True)


async def test_it_sees_what_becomes_of_the_catalog(tmp_path: Path) -> None:
    async with running(environment(tmp_path)) as program, program.doors as doors:
        added = MANIFESTS.replace("name: ", "name: more-")
        (tmp_path / "catalog" / "more.yaml").write_text(added)

        async def known() -> bool:
            return (await doors.get("/models/more-alpha")).status_code == 200

        await eventually(known)


async def test_the_console_and_its_web_sockets_are_behind_the_token(tmp_path: Path) -> None:
    settings = environment(tmp_path, CAPTIONFLEET_TOKEN="a long secret")
    upgrade = {
        "connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    socket = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    async with running(settings) as program, httpx.AsyncClient(base_url=program.url) as browser:
        for path in ("/", "/_nicegui/client/1/upload/2", "/_nicegui_ws/socket.io/?EIO=4"):
            assert (await browser.get(path)).status_code == 401
        assert (await browser.get(socket, headers=upgrade)).status_code == 403
        opened = await browser.get("/?token=a+long+secret", follow_redirects=True)
        assert (opened.status_code, "token" in str(opened.url)) == (200, False)
        foreign = upgrade | {"origin": "https://else.where"}
        assert (await browser.get(socket, headers=foreign)).status_code == 403


async def test_sigterm_ends_streams_and_the_program_with_status_0(tmp_path: Path) -> None:
    async with running(environment(tmp_path)) as program, program.doors as doors:
        image = (await doors.post("/images", content=picture())).json()["id"]
        job = (await doors.post("/jobs", json={"images": [image], "models": ["alpha"]})).json()
        heard: list[str] = []
        async with doors.stream("GET", f"/jobs/{job['id']}/events") as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            async for line in events.aiter_lines():
                heard.append(line)
                if line.startswith("event: job"):
                    program.process.send_signal(signal.SIGTERM)
        output, _ = await program.process.communicate()
    assert program.process.returncode == 0
    assert "event: task" in heard
    assert output == b""  # the ready line was all


async def test_what_was_accepted_is_there_after_a_kill(tmp_path: Path) -> None:
    settings = environment(tmp_path)
    async with running(settings) as program, program.doors as doors:
        image = (await doors.post("/images", content=picture())).json()["id"]
        job = (await doors.post("/jobs", json={"images": [image], "models": ["alpha"]})).json()
        program.process.kill()
        await program.process.wait()
    async with running(settings) as program, program.doors as doors:
        assert (await doors.get(f"/jobs/{job['id']}")).json()["counts"]["pending"] == 1
        assert (await doors.get(f"/images/{image}/thumbnail")).status_code == 200


async def test_a_kill_between_commit_and_answer_leaves_one_job(tmp_path: Path) -> None:
    settings = environment(tmp_path)
    armed = {"CAPTIONFLEET_FAULT": f"job: after commit, before answer@{tmp_path}/died"}
    body, key = {"models": ["alpha"]}, {"idempotency-key": "once"}
    async with running(settings | armed) as program, program.doors as doors:
        body["images"] = [(await doors.post("/images", content=picture())).json()["id"]]
        with pytest.raises(httpx.TransportError):
            await doors.post("/jobs", json=body, headers=key)
        assert await program.process.wait() == -signal.SIGKILL
    async with running(settings) as program, program.doors as doors:
        again = await doors.post("/jobs", json=body, headers=key)
        assert again.status_code == 202
        assert len((await doors.get("/jobs")).json()["items"]) == 1


async def test_it_ends_when_its_lifeline_is_cut(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    settings = environment(tmp_path, **{LIFELINE_VARIABLE: str(reading)})
    async with running(settings, pass_fds=(reading,)) as program:
        os.close(reading)
        os.close(writing)
        assert await asyncio.wait_for(program.process.wait(), 30) == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"CAPTIONFLEET_HOST": "0.0.0.0"}, b"CAPTIONFLEET_TOKEN"),
        ({"CAPTIONFLEET_PORT": "eighty"}, b"port: "),
    ],
)
async def test_wrong_settings_are_named_and_nothing_starts(
    tmp_path: Path, settings: dict[str, str], words: bytes
) -> None:
    process = await start(environment(tmp_path, **settings))
    output, errors = await process.communicate()
    assert (process.returncode, output) == (2, b"")
    assert words in errors
    assert b"Traceback" not in errors


async def test_a_database_that_does_not_answer_is_told_in_a_line_without_its_password(
    tmp_path: Path,
) -> None:
    nowhere = "postgresql://somebody:secret@127.0.0.1:9/captions"
    process = await start(environment(tmp_path, CAPTIONFLEET_DATABASE_URL=nowhere))
    output, errors = await process.communicate()
    assert (process.returncode, output, errors.count(b"\n")) == (3, b"", 1)
    assert b"the database cannot be used: connection failed" in errors
    assert b"secret" not in errors


async def test_it_serves_from_postgresql_over_a_restart(tmp_path: Path, postgres_url: str) -> None:
    settings = environment(tmp_path, CAPTIONFLEET_DATABASE_URL=postgres_url)
    async with running(settings) as program, program.doors as doors:
        image = (await doors.post("/images", content=picture())).json()["id"]
        job = (await doors.post("/jobs", json={"images": [image], "models": ["alpha"]})).json()
        program.process.kill()
        await program.process.wait()
    async with running(settings) as program, program.doors as doors:
        assert (await doors.get(f"/jobs/{job['id']}")).json()["counts"]["pending"] == 1
        assert (await doors.get(f"{program.url}readyz")).json()["database"] == "ok"


async def test_the_api_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, captionfleet_api.__main__\n"
        "print([m for m in ('torch', 'transformers', 'huggingface_hub') if m in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert output.strip() == b"[]"
