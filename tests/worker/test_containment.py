"""Code that misbehaves harms its own picture or engine, and the error says where it stood."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.conftest import eventually
from tests.worker.engines import custom_spec, engine_of, order_for, plain

from captionfleet_worker import engine_log
from captionfleet_worker.engine_process import (
    Answer,
    EngineDied,
    EngineOrder,
    EngineProcess,
    EngineTimeout,
    LoadFailed,
    Shot,
)
from captionfleet_worker.engine_room import clear_rooms, make_room, room_environment
from captionfleet_worker.launching import Launcher

pytestmark = pytest.mark.services  # engines are processes

MODEL = """
import os, signal, subprocess, sys, threading, time
from captionfleet import CustomModel


class Own(CustomModel):
    def load(self):
        {load}

    def infer(self, image, prompt):
        if not prompt:
            return "fine"
        {infer}
        return "after"

    def unload(self):
        {unload}
"""
IN_LOAD, IN_INFER, IN_UNLOAD = "line 8, in load", "line 13, in infer", "line 17, in unload"


def model(
    place: Path, *, load: str = "pass", infer: str = "pass", unload: str = "pass", **spec: Any
) -> EngineOrder:
    """Misbehaves where it is told to; infer() only when it is asked something."""
    code = MODEL.format(load=load, infer=infer, unload=unload)
    return order_for(custom_spec(place, code, **spec), place)


async def asked(engine: EngineProcess, prompt: str = "go") -> Answer:
    [answer] = await engine.run([Shot(plain(), prompt)], {})
    return answer


async def refused(order: EngineOrder) -> LoadFailed:
    with pytest.raises(LoadFailed) as failed:
        await EngineProcess.start(order, lambda sentence: None)
    return failed.value


@pytest.mark.parametrize("infer", ["sys.exit(3)", "raise KeyboardInterrupt", "exit()"])
async def test_a_wish_to_exit_fails_its_picture_alone(infer: str, tmp_path: Path) -> None:
    async with engine_of(model(tmp_path, infer=infer)) as engine:
        answer = await asked(engine)
        assert (await asked(engine, "")).text == "fine"
    assert answer.error_code == "model_error"
    assert "a model must not" in (answer.error_message or "")
    assert f"(own.py, {IN_INFER})" in (answer.error_message or "")


async def test_a_wish_to_exit_while_loading_is_a_mistake_of_the_code(tmp_path: Path) -> None:
    failed = await refused(model(tmp_path, load="sys.exit('no weights')"))
    assert failed.reason == "CodeError" and not failed.retriable
    assert "SystemExit: no weights" in failed.message and f"own.py, {IN_LOAD}" in failed.message


@pytest.mark.parametrize(
    "method", ["infer_batch(self, images, prompts, options)", "infer(self, i)"]
)
@pytest.mark.parametrize("raised", ["RuntimeError('no')", "helper.broken()"])
async def test_the_last_line_of_own_code_is_told_wherever_it_raises(
    method: str, raised: str, tmp_path: Path
) -> None:
    (tmp_path / "helper.py").write_text("def broken():\n    raise RuntimeError('no')\n")
    code = (
        "import helper\nclass Own:\n    def load(self): pass\n    def infer(self, i): return ''\n"
    )
    code += f"    def {method}:\n        raise {raised}\n"
    async with engine_of(order_for(custom_spec(tmp_path, code), tmp_path)) as engine:
        answer = await asked(engine)
    name = method.partition("(")[0]
    told = "helper.py, line 2, in broken" if "helper" in raised else f"own.py, line 6, in {name}"
    assert answer.error_message == f"RuntimeError: no ({told})"


async def test_what_outlived_a_killed_worker_ends_when_the_next_one_starts(tmp_path: Path) -> None:
    room = make_room(tmp_path / "rooms", "m")
    left = await asyncio.create_subprocess_exec("sleep", "1000", env=room_environment(room, {}))
    other = await asyncio.create_subprocess_exec("sleep", "1000")
    clear_rooms(tmp_path / "rooms")
    assert await left.wait() == -9 and not room.exists()
    assert other.returncode is None
    other.kill()
    await other.wait()


async def test_an_unload_that_never_returns_is_ended_and_its_line_told(tmp_path: Path) -> None:
    async with engine_of(model(tmp_path, unload="\n        while True: pass")) as engine:
        assert (await asked(engine)).text == "after"
        started = time.monotonic()
    assert not engine.alive and engine.unloaded is None
    assert time.monotonic() - started < 15
    assert log_of(tmp_path).count("line 18 in unload") == 1


@pytest.mark.parametrize("unload", ["1 / 0", "sys.exit(1)", "os.abort()", "os._exit(1)"])
async def test_an_unload_that_fails_keeps_no_engine_alive(unload: str, tmp_path: Path) -> None:
    async with engine_of(model(tmp_path, unload=unload)) as engine:
        pass
    assert not engine.alive
    assert "line 17 in unload" in log_of(tmp_path) or "line 17, in unload" in log_of(tmp_path)


@pytest.mark.parametrize(
    "infer",
    [
        pytest.param("time.sleep(1000)", id="it sleeps"),
        pytest.param("\n        while True: pass", id="it loops"),
        pytest.param("import re; re.match('(a+)+$', 'a' * 99 + 'b')", id="it never lets go of C"),
    ],
)
async def test_a_picture_that_takes_too_long_names_the_line(infer: str, tmp_path: Path) -> None:
    async with engine_of(model(tmp_path, infer=infer, inference={"timeoutSeconds": 1})) as engine:
        with pytest.raises(EngineTimeout, match=r"it was in own\.py, line 1[34], in infer") as late:
            await asked(engine)
    assert late.value.place and "own.py" in late.value.place
    assert "most recent call first" in log_of(tmp_path)


async def test_the_line_may_be_that_of_a_helper_module(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def wait():\n    import time\n    time.sleep(1000)\n")
    order = model(tmp_path, infer="import helper; helper.wait()", inference={"timeoutSeconds": 1})
    async with engine_of(order) as engine:
        with pytest.raises(EngineTimeout) as late:
            await asked(engine)
    assert late.value.place == "helper.py, line 3, in wait"


async def test_a_thread_of_the_code_is_not_taken_for_the_call(tmp_path: Path) -> None:
    load = "threading.Thread(target=time.sleep, args=(999,), daemon=True).start(); self.f = spin"
    order = model(tmp_path, load=load, infer="self.f()", inference={"timeoutSeconds": 1})
    with (tmp_path / "own.py").open("a") as file:
        file.write("\n\ndef spin():\n    while True:\n        pass\n")
    async with engine_of(order) as engine:
        with pytest.raises(EngineTimeout, match="in spin"):
            await asked(engine)


async def test_a_load_that_takes_too_long_names_the_line(tmp_path: Path) -> None:
    acceptance = {"timeoutSeconds": 6, "smokeTest": False}  # time enough to begin
    failed = await refused(model(tmp_path, load="time.sleep(1000)", acceptance=acceptance))
    assert failed.reason == "LoadTimeout" and f"it was in own.py, {IN_LOAD}" in failed.message


@pytest.mark.parametrize(
    ("infer", "how"),
    [
        ("os.abort()", f"SIGABRT, in own.py, {IN_INFER}"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", f"SIGSEGV, in own.py, {IN_INFER}"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("os._exit(3)", f"exit code 3, in own.py, {IN_INFER}"),
    ],
)
async def test_a_crash_says_how_and_where(infer: str, how: str, tmp_path: Path) -> None:
    async with engine_of(model(tmp_path, infer=infer)) as engine:
        with pytest.raises(EngineDied) as died:
            await asked(engine)
    assert died.value.how == how


async def test_memory_that_runs_out_fails_its_picture_alone(tmp_path: Path) -> None:
    order = model(tmp_path, infer="bytearray(2 ** 40)", requirements={"memory": "100Mi"})
    async with engine_of(order) as engine:
        answer = await asked(engine)
        assert (await asked(engine, "")).text == "fine"
    assert answer.error_code == "out_of_memory"
    assert "spec.requirements.memory and 2.1 GB beside it" in (answer.error_message or "")
    assert f"own.py, {IN_INFER}" in (answer.error_message or "")


async def test_memory_that_is_taken_bit_by_bit_runs_out_too(tmp_path: Path) -> None:
    load = "self.kept = [bytes(2 ** 26) for _ in range(10 ** 6)]"
    failed = await refused(model(tmp_path, load=load, requirements={"memory": "100Mi"}))
    assert (failed.reason, failed.retriable) == ("OutOfMemory", True)
    assert "own.py, line 8" in failed.message and "may take 2.3 GB" in failed.message


async def test_what_is_printed_goes_to_the_log_and_spoils_no_answer(tmp_path: Path) -> None:
    infer = (
        "print('by print'); os.write(1, b'by write'); os.write(2, b'to stderr'); "
        "subprocess.run(['echo', 'by a child'], check=True); sys.stdout = None"
    )
    async with engine_of(model(tmp_path, infer=infer)) as engine:
        assert (await asked(engine)).text == "after"
        assert (await asked(engine, "")).text == "fine"
    for said in ("by print", "by write", "to stderr", "by a child"):
        assert said in log_of(tmp_path)


async def test_a_flood_of_prints_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_log, "LARGEST_FILE", 2**20)
    monkeypatch.setattr(engine_log, "_BYTES_PER_SECOND", 100 * 2**20)
    infer = "[print('flood' * 200) for _ in range(5000)]; print('the end')"
    async with engine_of(model(tmp_path, infer=infer)) as engine:
        assert (await asked(engine)).text == "after"
    written = [file.stat().st_size for file in (tmp_path / "logs").iterdir()]
    assert len(written) == 2 and sum(written) <= 2 * 2**20
    assert log_of(tmp_path).rstrip().endswith("the end")


async def test_an_os_exit_while_loading_names_the_line(tmp_path: Path) -> None:
    failed = await refused(model(tmp_path, load="os._exit(3)"))
    assert failed.reason == "EngineDied"
    assert f"exit code 3, in own.py, {IN_LOAD}" in failed.message


async def test_the_end_of_an_engine_is_told_as_no_exit_of_the_code(tmp_path: Path) -> None:
    async with engine_of(model(tmp_path)) as engine:
        assert (await asked(engine)).text == "after"
    assert "most recent call first" not in log_of(tmp_path)


DAEMON = (
    "import daemon; daemon.start({pid!r}); "
    "[time.sleep(0.01) for _ in range(1000) if not os.path.exists({pid!r} + '.there')]"
)
DAEMON_FILE = """
import os, time

def start(mark):
    '''A process that left group, session and parent behind, as daemons do.'''
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            {more}
            with open(mark, "w") as file:
                file.write(str(os.getpid()))
            os.rename(mark, mark + ".there")
            time.sleep(1000)
        os._exit(0)
    os.wait()
"""
CLOSED = (
    "null = os.open('/dev/null', os.O_RDWR); [os.dup2(null, i) for i in (0, 1, 2)]; "
    "os.closerange(3, 99)"
)


@pytest.mark.parametrize("more", ["pass", CLOSED], ids=["plain", "with all files closed"])
async def test_a_daemon_ends_with_its_engine(more: str, tmp_path: Path) -> None:
    daemon = await left_by(tmp_path, more, lambda engine: engine.stop())
    await eventually(lambda: not runs(daemon))


async def test_a_daemon_ends_with_an_engine_that_crashed(tmp_path: Path) -> None:
    async def crash(engine: EngineProcess) -> None:
        os.kill(engine.pid, 9)
        with pytest.raises(EngineDied):
            await asked(engine, "")

    daemon = await left_by(tmp_path, "pass", crash)
    await eventually(lambda: not runs(daemon))


async def test_a_program_in_a_session_of_its_own_ends_with_an_engine_that_crashed(
    tmp_path: Path,
) -> None:
    mark = tmp_path / "pid"
    infer = (
        "child = subprocess.Popen(['sleep', '1000'], start_new_session=True, close_fds=True, "
        f"stdout=-3, stderr=-3); open({str(mark)!r}, 'w').write(str(child.pid)); os.abort()"
    )
    async with engine_of(model(tmp_path, infer=infer)) as engine:
        with pytest.raises(EngineDied):
            await asked(engine)
    assert not runs(int(mark.read_text()))


async def test_all_this_holds_for_an_engine_that_was_forked(tmp_path: Path) -> None:
    (tmp_path / "daemon.py").write_text(DAEMON_FILE.format(more="pass"))
    mark = tmp_path / "pid"
    infer = DAEMON.format(pid=str(mark)) + "; os.abort()"
    order = model(tmp_path, infer=infer, requirements={"memory": "100Mi"})
    launcher = Launcher()
    await launcher.warm_up(order)
    await launcher.warmth()
    try:
        engine = await EngineProcess.start(order, lambda *_: None, launcher.launch)
        with pytest.raises(EngineDied, match=r"SIGABRT, in own\.py, line 13, in infer"):
            await asked(engine)
        assert not runs(int((tmp_path / "pid.there").read_text()))
        late = model(tmp_path, infer="time.sleep(99)", inference={"timeoutSeconds": 1})
        engine = await EngineProcess.start(late, lambda *_: None, launcher.launch)
        with pytest.raises(EngineTimeout, match=r"own\.py, line 13, in infer"):
            await asked(engine)
        limited = model(tmp_path, infer="bytearray(2 ** 40)")
        engine = await EngineProcess.start(limited, lambda *_: None, launcher.launch)
        assert (await asked(engine)).error_code == "out_of_memory"
        await engine.stop()
    finally:
        await launcher.stop()


async def left_by(place: Path, more: str, end: Callable[[EngineProcess], Any]) -> int:
    """Pid of a daemon whose engine was ended by `end`."""
    (place / "daemon.py").write_text(DAEMON_FILE.format(more=more))
    mark = place / "pid"
    async with engine_of(model(place, infer=DAEMON.format(pid=str(mark)))) as engine:
        assert (await asked(engine)).text == "after"
        daemon = int((place / "pid.there").read_text())
        assert runs(daemon)
        await end(engine)
    return daemon


def runs(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


async def test_threads_that_never_end_do_not_hold_up_the_end(tmp_path: Path) -> None:
    load = "[threading.Thread(target=time.sleep, args=(1000,)).start() for _ in range(20)]"
    started = time.monotonic()
    async with engine_of(model(tmp_path, load=load)) as engine:
        assert (await asked(engine)).text == "after"
        started = time.monotonic()
    assert not engine.alive and time.monotonic() - started < 4


async def test_code_that_closes_every_file_ends_its_engine_and_no_more(tmp_path: Path) -> None:
    order = model(tmp_path, infer="os.closerange(3, 1000)", inference={"timeoutSeconds": 20})
    async with engine_of(order) as engine:
        with pytest.raises(EngineDied):
            await asked(engine)


async def test_changed_surroundings_do_not_disturb_the_engine(tmp_path: Path) -> None:
    load = (
        "os.chdir('/'); os.environ.clear(); sys.path.clear(); sys.argv[:] = []; os.umask(0o777); "
        "[signal.signal(s, signal.SIG_IGN) for s in (2, 12, 15)]; sys.setrecursionlimit(90); "
        "os.nice(5)"
    )
    async with engine_of(model(tmp_path, load=load)) as engine:
        assert (await asked(engine)).text == "after"
        assert (await asked(engine, "")).text == "fine"
    assert not engine.alive


async def test_endless_recursion_is_an_error_of_its_line(tmp_path: Path) -> None:
    async with engine_of(model(tmp_path, infer="self.infer(image, prompt)")) as engine:
        answer = await asked(engine)
    assert (answer.error_message or "").startswith("RecursionError")
    assert IN_INFER in (answer.error_message or "")


@pytest.mark.parametrize(
    ("infer", "code", "message"),
    [
        ("return object()", "bad_result", "returned object"),
        ("return b'bytes'", "bad_result", "returned bytes"),
        ("return ['a']", "bad_result", "returned list"),
        ("return (x for x in 'ab')", "bad_result", "returned generator"),
        ("return 'a\\0b'", None, "ab"),
        ("return type('Odd', (str,), {'strip': None, 'replace': 1 / 1})('odd')", None, "odd"),
        ("return '\\ud800 half'", None, "? half"),
    ],
)
async def test_an_odd_result_is_judged(
    infer: str, code: str | None, message: str, tmp_path: Path
) -> None:
    async with engine_of(model(tmp_path, infer=infer)) as engine:
        answer = await asked(engine)
    assert answer.error_code == code
    told = answer.error_message or answer.text or ""
    assert message in told
    assert told.endswith(" (own.py, line 10, in infer)") == (code is not None)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("class Own(type): pass", "TypeError"),
        ("class Meta(type):\n    def __call__(cls, **k): return None\n"
         "class Own(metaclass=Meta): pass", "NoneType"),
        ("class Own:\n    device = property(lambda self: 'mine')\n", "AttributeError"),
        ("class Own:\n    def __new__(cls): raise SystemExit(9)\n", "SystemExit: 9, which"),
        ("Own = 7", "'int' object is not callable"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("from . import helper", "(own.py, line 1"),
        ("import first_half", "(second_half.py, line 1"),
    ],
)  # fmt: skip
async def test_a_class_full_of_surprises_is_refused_in_words(
    body: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "first_half.py").write_text("import second_half\nX = 1\n")
    (tmp_path / "second_half.py").write_text("from first_half import X\n")
    failed = await refused(order_for(custom_spec(tmp_path, body), tmp_path))
    assert failed.reason == "CodeError" and told in failed.message


async def test_modules_of_a_package_may_import_each_other(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "words.py").write_text("from . import model\nWORD = 'packed'\n")
    (package / "model.py").write_text(
        "from captionfleet import CustomModel\nfrom . import words\n"
        "class Own(CustomModel):\n    def load(self): pass\n"
        "    def infer(self, image): return words.WORD\n"
    )
    spec = {"custom": {"entrypoint": "mine.model:Own"}, "acceptance": {"smokeTest": False}}
    async with engine_of(order_for(spec, tmp_path)) as engine:
        assert (await asked(engine)).text == "packed"


async def test_another_engine_captions_on_while_one_misbehaves(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"
    bad.mkdir()
    good.mkdir()
    loop = model(bad, infer="\n        while True: print('x')", inference={"timeoutSeconds": 2})
    async with engine_of(loop) as one, engine_of(model(good)) as other:
        looping = asyncio.create_task(asked(one))
        answers = [(await asked(other)).text for _ in range(20)]
        assert not looping.done() and answers == ["after"] * 20
        with pytest.raises(EngineTimeout):
            await looping


def log_of(place: Path) -> str:
    return (place / "logs" / "m.log").read_text(errors="replace")
