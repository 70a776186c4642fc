"""Engines from the fork-server: as good as a process of their own, there at once, gone with it."""

import asyncio
import errno
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import SHAPES, eventually
from tests.worker.engines import (
    TRUTH,
    ask,
    custom_spec,
    engine_of,
    normalized,
    order_for,
    plain,
    shapes_spec,
)
from tests.worker.test_engine_process import runs
from transformers import BlipConfig, BlipForConditionalGeneration

from captionfleet_worker import fork_server
from captionfleet_worker.engine import forkserver
from captionfleet_worker.engine_process import EngineDied, EngineProcess, LoadFailed, Shot
from captionfleet_worker.fork_server import ForkServer, NoForkServer
from captionfleet_worker.launching import Launcher
from captionfleet_worker.memory_of import resident_memory

LARGE = 120 * 10**6
pytestmark = pytest.mark.services  # engines are processes

TELLTALE = """
import json, os, signal, sys, threading
from captionfleet import CustomModel
class Own(CustomModel):
    def load(self): print("a line for the log")
    def infer(self, image, prompt):
        if prompt == "exit": os._exit(7)
        if prompt == "crash": os.kill(os.getpid(), signal.SIGSEGV)
        import torch, numpy, transformers.dynamic_module_utils as dynamic
        return json.dumps({
            "torch": torch.get_num_threads(), "cuda": torch.cuda.is_initialized(),
            "session": os.getsid(0) == os.getpid(), "modules": dynamic.HF_MODULES_CACHE,
            "environment": dict(os.environ), "chance": numpy.random.rand(),
        })
"""

AGENT = """
import asyncio, pathlib, sys
sys.path.insert(0, sys.argv[2])
from tests.worker.engines import order_for, custom_spec
from captionfleet_worker.engine_process import EngineProcess
from captionfleet_worker.launching import Launcher
async def main():
    place = pathlib.Path(sys.argv[1])
    order = order_for(custom_spec(place, (place / "own.py").read_text()), place)
    launcher = Launcher()
    await launcher.warm_up(order)
    await launcher.warmth()
    engine = await EngineProcess.start(order, lambda *_: None, launcher.launch)
    print("pids", engine.pid, launcher.server_pid, flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
async def launcher(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Launcher]:
    """Warm."""
    place = tmp_path_factory.mktemp("launcher")
    launcher = Launcher(frozenset({"PASSED_ON"}))
    await launcher.warm_up(order_for(custom_spec(place, TELLTALE), place))
    await launcher.warmth()
    yield launcher
    await launcher.stop()


async def forked(launcher: Launcher, place: Path) -> EngineProcess:
    order = order_for(custom_spec(place, TELLTALE), place)
    return await EngineProcess.start(order, lambda *_: None, launcher.launch)


async def told(engine: EngineProcess) -> dict[str, Any]:
    [answer] = await engine.run([Shot(plain(), "")], {})
    return dict(json.loads(answer.text or answer.error_message or ""))


async def test_a_forked_engine_is_as_good_as_one_of_its_own(
    launcher: Launcher, tmp_path: Path
) -> None:
    order = order_for(shapes_spec("shapes-basic"), tmp_path)
    pictures = [f"shapes-{number:02d}.png" for number in range(1, 5)]
    engine = await EngineProcess.start(order, lambda *_: None, launcher.launch)
    answers = await ask(engine, [normalized(name) for name in pictures])
    await engine.stop()
    assert answers[0].text == TRUTH[pictures[0]]["captions"]["plain"]
    async with engine_of(order) as cold:
        assert cold.loaded.revision == engine.loaded.revision
        assert await ask(cold, [normalized(name) for name in pictures]) == answers


async def test_a_forked_engine_has_a_session_a_room_and_chances_of_its_own(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("PASSED_ON", "yes")
    engines = [await forked(launcher, tmp_path) for _ in range(2)]
    first, second = [await told(engine) for engine in engines]
    for engine in engines:
        await engine.stop()
    assert first["session"] and not first["cuda"] and first["torch"] == 1
    assert first["modules"].startswith(str(tmp_path / "rooms"))
    assert first["modules"] != second["modules"] and first["chance"] != second["chance"]
    assert first["environment"]["PASSED_ON"] == "yes" and "secret" not in str(first)
    assert "a line for the log" in (tmp_path / "logs" / "m.log").read_text()


@pytest.mark.parametrize(("end", "how"), [("exit", "exit code 7"), ("crash", "SIGSEGV")])
async def test_how_a_forked_engine_ended_is_known(
    end: str, how: str, launcher: Launcher, tmp_path: Path
) -> None:
    engine = await forked(launcher, tmp_path)
    with pytest.raises(EngineDied, match=how):
        await engine.run([Shot(plain(), end)], {})
    await engine.stop()


async def test_the_fork_server_has_one_thread_and_outlives_its_engines(
    launcher: Launcher, tmp_path: Path
) -> None:
    before = launcher.server_pid
    engine = await forked(launcher, tmp_path)
    os.kill(engine.pid, signal.SIGKILL)
    await eventually(lambda: not engine.alive)
    await engine.stop()
    assert launcher.server_pid == before
    assert "Threads:\t1\n" in Path(f"/proc/{before}/status").read_text()


async def test_engines_die_with_the_fork_server_and_another_is_started(
    launcher: Launcher, tmp_path: Path
) -> None:
    engine, before = await forked(launcher, tmp_path), launcher.server_pid
    assert before
    os.kill(before, signal.SIGKILL)
    await eventually(lambda: not runs(engine.pid) and not engine.alive)
    with pytest.raises(EngineDied, match="SIGKILL") as died:
        await engine.run([Shot(plain(), "")], {})
    assert not died.value.killed  # no batch is to be blamed
    await engine.stop()
    order = order_for(shapes_spec("shapes-basic"), tmp_path)
    engine = await EngineProcess.start(order, lambda *_: None, launcher.launch)
    await engine.stop()
    assert launcher.server_pid not in (None, before)


async def test_a_forked_engine_dies_with_its_agent(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(TELLTALE)
    agent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", AGENT, str(tmp_path), str(Path.cwd()), stdout=asyncio.subprocess.PIPE
    )
    assert agent.stdout
    while not (said := await agent.stdout.readline()).startswith(b"pids "):
        assert said, "the agent ended"
    engine, server = map(int, said.split()[1:])
    assert runs(engine) and runs(server)
    agent.kill()
    await agent.wait()
    await eventually(lambda: not runs(engine) and not runs(server))


async def test_own_code_does_not_wait_for_a_fork_server(tmp_path: Path) -> None:
    launcher = Launcher()
    engine = await forked(launcher, tmp_path)
    assert launcher.server_pid is None
    await engine.stop()
    await launcher.stop()


async def test_a_fork_server_that_cannot_start_is_told(tmp_path: Path) -> None:
    server = ForkServer()
    with pytest.raises(NoForkServer):
        await server.fork({"PYTHONHOME": "/nowhere"}, tmp_path, 0, 1)
    await server.stop()


async def test_a_fork_server_that_hangs_while_it_starts_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork_server, "_LONGEST_WARM_UP_SECONDS", 0.1)
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(1000)")
    server = ForkServer()
    with pytest.raises(NoForkServer):
        await server.fork({"PYTHONPATH": str(tmp_path)}, tmp_path, 0, 1)
    await server.stop()


async def test_all_that_wait_for_a_fork_server_wait_for_the_same_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    async def begin(environment: Mapping[str, str]) -> fork_server._Life:
        begun.append("one")
        return await begin_really(environment)

    begin_really = fork_server._begin
    monkeypatch.setattr(fork_server, "_begin", begin)
    server = ForkServer()
    broken = {"PYTHONHOME": "/nowhere"}
    waiting = [server.fork(broken, tmp_path, 0, 1) for _ in range(3)]
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [NoForkServer] * 3 and begun == ["one"]
    await server.stop()


def test_a_machine_without_room_for_another_process_keeps_its_engines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No limit of processes holds for root, so the refusal is made up."""

    def refuse() -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    agent, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with agent, server, Path(os.devnull).open() as file:
        socket.send_fds(agent, [b"{}"], [file.fileno(), file.fileno()])
        before = len(list(Path("/proc/self/fd").iterdir()))
        forkserver._fork_one(server)
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert json.loads(agent.recv(1000))["say"] == "refused"


async def test_who_asked_for_a_refused_process_is_told_what_to_do(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await launcher.warmth()
    life = launcher._server._life
    assert life
    asked = asyncio.ensure_future(life.fork({}, tmp_path, 0, 1))
    monkeypatch.setattr(socket, "send_fds", lambda *_: 0)
    await eventually(lambda: life._asked)
    life._take({"say": "refused", "why": "Resource temporarily unavailable"})
    with pytest.raises(LoadFailed, match=r"another process \(Resource .*unload a model"):
        await asked
    assert launcher._server.warm


async def test_an_unloaded_model_gives_its_memory_back(launcher: Launcher, tmp_path: Path) -> None:
    weights = large_checkpoint(tmp_path / "large")
    spec = {"source": {"volume": {"path": str(weights)}}, "acceptance": {"smokeTest": False}}
    order = order_for(spec, tmp_path)
    assert launcher.server_pid
    before = resident_memory(launcher.server_pid)
    engine = await EngineProcess.start(order, lambda *_: None, launcher.launch)
    await engine.run([Shot(plain(), "")], {})
    loaded = resident_memory(launcher.server_pid) + engine.memory_bytes()
    assert loaded > before + LARGE
    await engine.stop()
    assert not Path(f"/proc/{engine.pid}").exists() and not list((tmp_path / "rooms").iterdir())
    assert resident_memory(launcher.server_pid) < before + LARGE / 5


def large_checkpoint(folder: Path) -> Path:
    """BLIP of one layer with the vocabulary of a large one, in a number format that is not ours, so
    that loading makes a copy of it in memory."""
    model = BlipForConditionalGeneration(
        BlipConfig(
            text_config={"num_hidden_layers": 1, "vocab_size": 40_000},
            vision_config={"num_hidden_layers": 1, "image_size": 48},
        )
    )
    assert sum(weight.numel() * 4 for weight in model.parameters()) > LARGE
    shutil.copytree(SHAPES / "models" / "shapes-blip", folder)
    model.bfloat16().save_pretrained(folder)
    return folder
