"""Processes that own code forks: they end, and none of them is taken for the engine."""

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from tests.conftest import eventually
from tests.worker.engines import engine_of
from tests.worker.test_containment import IN_INFER, IN_LOAD, asked, log_of, model, runs

from captionfleet_worker.engine_process import EngineProcess, EngineTimeout

pytestmark = pytest.mark.services  # engines are processes

ENDLESS = """
import os, time

def stay(mark, ends):
    # Each starts the next one and stays, in a session of their own.
    os.setsid()
    while time.monotonic() < ends and os.fork() == 0:
        os.utime(mark)
        time.sleep(0.01)
    time.sleep(20)

def run_on(mark, ends):
    # Each starts the next one and is gone: whoever looks finds those that were.
    while time.monotonic() < ends:
        os.utime(mark)
        if os.fork():
            os._exit(0)
"""


def children(engine: EngineProcess) -> list[int]:
    return [child.pid for child in psutil.Process(engine.pid).children(recursive=True)]


def left_of(place: Path) -> list[int]:
    """Processes that live and have the folder in their environment, as those of engines do."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(str(place) in value for value in process.environ().values()):
                found.append(process.pid)
    return [pid for pid in found if pid != os.getpid() and runs(pid)]


@pytest.mark.parametrize(
    ("fork", "place"),
    [
        ("os.fork()", f"own.py, {IN_INFER}"),
        ("os.fork() or 1 / 0", f"own.py, {IN_INFER}"),
        ("import helper; helper.split()", "helper.py, line 3, in split"),
    ],
    ids=["it returns", "it raises", "in a helper"],
)
async def test_one_that_comes_back_is_ended_and_its_line_told(
    fork: str, place: str, tmp_path: Path
) -> None:
    (tmp_path / "helper.py").write_text("import os\ndef split():\n    os.fork()\n")
    async with engine_of(model(tmp_path, infer=fork)) as engine:
        assert [(await asked(engine)).text for _ in range(3)] == ["after"] * 3
        assert (await asked(engine, "")).text == "fine"
        await eventually(lambda: not [pid for pid in children(engine) if runs(pid)])
    told = f"A process that was forked ({place}) came back from the model's code"
    assert log_of(tmp_path).count(told) == 3
    assert log_of(tmp_path).count("ZeroDivisionError: ") == (3 if "1 / 0" in fork else 0)


async def test_one_that_is_forked_while_loading_loads_nothing(tmp_path: Path) -> None:
    async with engine_of(model(tmp_path, load="os.fork()")) as engine:
        assert (await asked(engine)).text == "after"
    assert f"forked (own.py, {IN_LOAD}) came back" in log_of(tmp_path)


@pytest.mark.parametrize("end", ["os._exit(7)", "sys.exit(7)"])
async def test_one_may_end_by_itself_with_a_status(end: str, tmp_path: Path) -> None:
    infer = f"os.fork() or {end}; return str(os.waitstatus_to_exitcode(os.wait()[1]))"
    async with engine_of(model(tmp_path, infer=infer)) as engine:
        assert (await asked(engine)).text == "7"
    assert "came back" not in log_of(tmp_path)


@pytest.mark.parametrize("how", ["stay", "run_on"])
async def test_code_that_forks_without_end_ends_with_its_engine(how: str, tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    (mark := tmp_path / "mark").touch()
    call = f"endless.{how}({str(mark)!r}, time.monotonic() + 20)"
    infer = f"import endless; os.fork() or {call}; time.sleep(99)"
    async with engine_of(model(tmp_path, infer=infer, inference={"timeoutSeconds": 1})) as engine:
        with pytest.raises(EngineTimeout, match=f"own.py, {IN_INFER}"):
            await asked(engine)
        await eventually(
            lambda: time.time() - mark.stat().st_mtime > 1, seconds=8, what="no more forks"
        )
        assert not left_of(tmp_path)
