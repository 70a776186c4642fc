"""An engine and its agent: what passes between them, and what becomes of one without the other."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from tests.conftest import eventually
from tests.worker.engines import custom_spec, engine_of, order_for, plain

from captionfleet_worker import engine_process
from captionfleet_worker.engine.protocol import EngineOrder, LoadFailed, framed, read_frame
from captionfleet_worker.engine_process import (
    EngineDied,
    EngineProcess,
    EngineTimeout,
    NotBegun,
    Shot,
)
from captionfleet_worker.launching import engine_environment

pytestmark = pytest.mark.services  # engines and programs are processes

SLOW = """
import pathlib, time
from captionfleet import CustomModel
class Own(CustomModel):
    def load(self): pass
    def infer(self, image, prompt):
        prompt and pathlib.Path(prompt + ".begun").touch()
        while prompt and not pathlib.Path(prompt).exists(): time.sleep(0.01)
        return prompt or 'at once'
"""

WATCHFUL = """
import threading
from PIL import Image
from captionfleet import CustomModel
opened, second = [], threading.Event()
opens = Image.open
def watched(*arguments):
    opened.append(1)
    len(opened) > 1 and second.set()
    return opens(*arguments)
Image.open = watched
class Own(CustomModel):
    def load(self): pass
    def infer(self, image, prompt):
        return "beside" if second.wait(10) else "one after the other"
"""

AGENT = """
import asyncio, pathlib, sys
sys.path.insert(0, sys.argv[2])
from tests.worker.engines import order_for, custom_spec
from captionfleet_worker.engine_process import EngineProcess, Shot
async def main():
    place = pathlib.Path(sys.argv[1])
    code = (place / "own.py").read_text()
    spec = custom_spec(place, code)
    engine = await EngineProcess.start(order_for(spec, place), lambda *_: None)
    print(engine.pid, flush=True)
    await engine.run([Shot(b"", "")], {})
    await asyncio.sleep(1000)
asyncio.run(main())
"""


DAEMONLESS = SLOW.replace("load(self): pass", "load(self): threading.Thread(target=hang).start()")
DAEMONLESS += "import threading\ndef hang(): time.sleep(1000)\n"


async def test_an_engine_that_can_say_nothing_more_ends_at_once(tmp_path: Path) -> None:
    """A thread of the code would keep the interpreter from ending."""
    async with engine_of(order_for(custom_spec(tmp_path, DAEMONLESS), tmp_path)) as engine:
        engine._writer.get_extra_info("socket").shutdown(socket.SHUT_RD)
        with pytest.raises(EngineDied, match="exit code 1"):
            await engine.run([Shot(plain(), "")], {})


async def test_an_order_survives_the_way_to_the_engine(tmp_path: Path) -> None:
    order = order_for(custom_spec(tmp_path, SLOW), tmp_path, cache=tmp_path / "hub", offline=True)
    reader = asyncio.StreamReader()
    reader.feed_data(b"".join(framed(order.to_header(), [b"\x00pict", b"ures"])))
    header, body = await read_frame(reader)
    assert EngineOrder.from_header(header) == order and body == b"\x00pictures"


async def test_progress_is_told_in_sentences(tmp_path: Path) -> None:
    told: list[str] = []
    order = order_for(custom_spec(tmp_path, SLOW, acceptance={}), tmp_path)
    engine = await EngineProcess.start(order, told.append)
    await engine.stop()
    assert told == ["starting the engine", "loading own:Own", "captioning a test picture"]


async def test_the_answer_to_a_cancelled_run_goes_to_nobody(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with engine_of(order_for(custom_spec(tmp_path, SLOW), tmp_path)) as engine:
        first = asyncio.create_task(engine.run([Shot(plain(), str(gate))], {}))
        await eventually((tmp_path / "gate.begun").exists)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        gate.touch()
        [answer] = await engine.run([Shot(plain(), "")], {})
    assert first.cancelled() and answer.text == "at once"


async def test_a_cancelled_picture_is_skipped_and_its_batch_answered(tmp_path: Path) -> None:
    async with engine_of(order_for(custom_spec(tmp_path, SLOW), tmp_path)) as engine:
        engine.cancel(["two"])  # heard before the batch, as it is sent before
        shots = [Shot(plain(), "", "one"), Shot(plain(), "", "two"), Shot(plain(), "")]
        one, two, three = await engine.run(shots, {})
    assert (one.text, two.finish, three.text) == ("at once", "cancelled", "at once")


async def test_runs_take_turns(tmp_path: Path) -> None:
    async with engine_of(order_for(custom_spec(tmp_path, SLOW), tmp_path)) as engine:
        answers = await asyncio.gather(*(engine.run([Shot(plain(), "")], {}) for _ in range(5)))
    assert [answer[0].text for answer in answers] == ["at once"] * 5


async def test_pictures_of_the_next_batch_are_decoded_while_the_device_works(
    tmp_path: Path,
) -> None:
    async with engine_of(order_for(custom_spec(tmp_path, WATCHFUL), tmp_path)) as engine:
        runs = [engine.run([Shot(plain(), "")], {}) for _ in range(2)]
        [first], _ = await asyncio.gather(*runs)
    assert first.text == "beside"


async def test_a_second_batch_begins_when_the_first_is_done(tmp_path: Path) -> None:
    gate, begun = tmp_path / "gate", list[int]()
    async with engine_of(order_for(custom_spec(tmp_path, SLOW), tmp_path)) as engine:
        first = asyncio.create_task(
            engine.run([Shot(plain(), str(gate))], {}, lambda: begun.append(1))
        )
        await eventually((tmp_path / "gate.begun").exists)
        second = asyncio.create_task(engine.run([Shot(plain(), "")], {}, lambda: begun.append(2)))
        assert begun == [1]
        gate.touch()
        await asyncio.gather(first, second)
    assert begun == [1, 2]


@pytest.mark.parametrize("end", ["killed", "late"])
async def test_an_end_blames_the_batch_that_ran(end: str, tmp_path: Path) -> None:
    limit = {"inference": {"timeoutSeconds": 1}} if end == "late" else {}
    order = order_for(custom_spec(tmp_path, SLOW, **limit), tmp_path)
    async with engine_of(order) as engine:
        first = asyncio.create_task(engine.run([Shot(plain(), str(tmp_path / "gate"))], {}))
        await eventually((tmp_path / "gate.begun").exists)
        second = asyncio.create_task(engine.run([Shot(plain(), "")], {}))
        if end == "killed":
            os.kill(engine.pid, signal.SIGKILL)
        troubles = await asyncio.gather(first, second, return_exceptions=True)
    blamed = EngineTimeout if end == "late" else EngineDied
    assert [type(each) for each in troubles] == [blamed, NotBegun]
    if isinstance(troubles[0], EngineDied):
        assert troubles[0].killed


async def test_an_engine_that_we_ended_was_not_killed_for_want_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_process, "_POLITE_SECONDS", 0.1)
    async with engine_of(order_for(custom_spec(tmp_path, SLOW), tmp_path)) as engine:
        running = asyncio.create_task(engine.run([Shot(plain(), str(tmp_path / "gate"))], {}))
        await eventually((tmp_path / "gate.begun").exists)
        await engine.stop()
        [trouble] = await asyncio.gather(running, return_exceptions=True)
    assert isinstance(trouble, EngineDied) and trouble.how.startswith("SIGKILL")
    assert not trouble.killed


async def test_a_cancelled_start_leaves_no_process(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    code = SLOW.replace("load(self): pass", f"load(self): own_pid({str(mark)!r}); time.sleep(1000)")
    code += "def own_pid(f):\n    import os\n    pathlib.Path(f).write_text(f'{os.getpid()} ')\n"
    order = order_for(custom_spec(tmp_path, code), tmp_path)
    starting = asyncio.create_task(EngineProcess.start(order, lambda *_: None))
    await eventually(lambda: mark.exists() and mark.read_text().endswith(" "))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not (Path("/proc") / mark.read_text().strip()).exists()


async def test_a_death_in_mid_load_is_told(tmp_path: Path) -> None:
    code = SLOW.replace("load(self): pass", "load(self): import os; os.kill(os.getpid(), 9)")
    with pytest.raises(LoadFailed, match=r"SIGKILL.*memory is short") as failed:
        await EngineProcess.start(order_for(custom_spec(tmp_path, code), tmp_path), lambda *_: None)
    assert (failed.value.reason, failed.value.retriable) == ("EngineDied", True)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
async def test_an_engine_dies_with_its_agent(sent: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(SLOW)
    agent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", AGENT, str(tmp_path), str(Path.cwd()), stdout=asyncio.subprocess.PIPE
    )
    assert agent.stdout
    engine = int(await agent.stdout.readline())
    assert Path(f"/proc/{engine}").exists()
    agent.send_signal(sent)
    await agent.wait()
    await eventually(lambda: not runs(engine))


def runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def test_an_engine_sees_no_credentials_whatever_their_names(tmp_path: Path) -> None:
    order = order_for(custom_spec(tmp_path, SLOW), tmp_path)
    inherited = {
        "RABBITMQ_URL": "amqp://u:secret@h", "CAPTIONFLEET_TOKEN": "secret", "HF_TOKEN": "secret",
        "https_proxy": "http://u:secret@proxy", "AWS_SECRET_ACCESS_KEY": "secret",
        "DATABASE_PASSWORD": "secret", "CAPTIONFLEET_LIFELINE_FD": "3", "MINE": "to see",
        "CAPTIONFLEET_FAULT": "x@y", "PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1", "LC_ALL": "C",
    }  # fmt: skip
    seen = engine_environment(order, inherited, frozenset({"MINE", "HF_TOKEN"}))
    assert "secret" not in str(seen) and "CAPTIONFLEET_LIFELINE_FD" not in seen
    assert {"CAPTIONFLEET_FAULT", "PATH", "CUDA_VISIBLE_DEVICES", "LC_ALL", "MINE"} <= set(seen)
    assert "MINE" not in engine_environment(order, inherited)
    assert (seen["OMP_NUM_THREADS"], seen["OMP_WAIT_POLICY"]) == ("1", "PASSIVE")


NOSY = """
import os
from captionfleet import CustomModel
class Own(CustomModel):
    def load(self): pass
    def infer(self, image, prompt): return os.environ.get(prompt, "unseen")
"""


async def test_an_engine_that_is_tried_sees_the_variables_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPTIONFLEET_ENGINE_ENV", "OTHER, MINE")
    monkeypatch.setenv("MINE", "to see")
    monkeypatch.setenv("YOURS", "not to see")
    async with engine_of(order_for(custom_spec(tmp_path, NOSY), tmp_path)) as engine:
        answers = await engine.run([Shot(plain(), "MINE"), Shot(plain(), "YOURS")], {})
    assert [answer.text for answer in answers] == ["to see", "unseen"]


def test_an_engine_never_asks_a_hub(tmp_path: Path) -> None:
    order = order_for(custom_spec(tmp_path, SLOW), tmp_path)
    assert engine_environment(order, {"HF_HUB_OFFLINE": "0"})["HF_HUB_OFFLINE"] == "1"


async def test_the_agents_side_imports_no_model_library() -> None:
    look = "import sys, captionfleet_worker.engine_process as e; print({'torch', 'transformers', "
    look += "'PIL', 'huggingface_hub'} & set(sys.modules))"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", look, stdout=asyncio.subprocess.PIPE
    )
    seen, _ = await child.communicate()
    assert seen.strip() == b"set()"
