"""A service is started again with growing pauses, and ends when it is told to."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import eventually

from captionfleet_cli.up.record import ProcessRecord
from captionfleet_cli.up.service import Program, Service, ServiceFailed, ended_how, restart_pause

SLEEPER = "import os, time; open('pids', 'a').write(f'{os.getpid()} '); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
BROKEN = "raise SystemExit('the disk is full')"


@pytest.fixture
def lifeline() -> Iterator[int]:
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


def service(folder: Path, code: str, lifeline: int, said: list[str]) -> Service:
    (folder / "program.py").write_text(f"import os; os.chdir({str(folder)!r}); {code}")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    program = Program("program", ("program",), environment, folder / "logs" / "program.log")
    return Service(program, lifeline, ProcessRecord(folder / "record.json"), said.append)


def pids(folder: Path) -> list[int]:
    file = folder / "pids"
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


@given(st.floats(0, 1000), st.floats(0, 59))
def test_pauses_grow_but_stay_bounded(last: float, lived: float) -> None:
    pause = restart_pause(last, lived)
    assert 0.5 <= pause <= 30
    assert pause >= min(last, 30)


def test_a_long_life_makes_the_next_pause_short() -> None:
    assert restart_pause(30, lived=61) == 0.5


def test_how_it_ended_is_said_in_words() -> None:
    assert ended_how(3) == "ended with exit status 3"
    assert ended_how(-9) == "was ended by SIGKILL"


async def test_a_killed_program_is_started_again_and_it_is_said(
    tmp_path: Path, lifeline: int
) -> None:
    said: list[str] = []
    program = service(tmp_path, SLEEPER, lifeline, said)
    running = asyncio.create_task(program.run())
    [first] = await eventually(lambda: pids(tmp_path))
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: len(pids(tmp_path)) == 2)
    await program.end(10)
    await running
    assert "program was ended by SIGKILL: starting it again" in said[0]
    assert not any(psutil.pid_exists(pid) for pid in pids(tmp_path))


async def test_a_program_deaf_to_sigterm_is_killed(tmp_path: Path, lifeline: int) -> None:
    said: list[str] = []
    program = service(tmp_path, DEAF, lifeline, said)
    running = asyncio.create_task(program.run())
    [pid] = await eventually(lambda: pids(tmp_path))
    await program.end(0.2)
    await running
    assert not psutil.pid_exists(pid)
    assert "did not end within 0.2 s" in said[-1]


async def test_a_program_that_never_works_ends_up_with_its_last_words(
    tmp_path: Path, lifeline: int
) -> None:
    with pytest.raises(ServiceFailed, match="the disk is full"):
        await service(tmp_path, BROKEN, lifeline, []).run()


async def test_a_program_that_worked_once_is_never_given_up(tmp_path: Path, lifeline: int) -> None:
    said: list[str] = []
    program = service(tmp_path, "pass", lifeline, said)
    program.proven = True
    running = asyncio.create_task(program.run())
    await eventually(lambda: len(said) >= 3)
    await program.end(1)
    await running


async def test_processes_that_an_earlier_start_left_are_ended(
    tmp_path: Path, lifeline: int
) -> None:
    program = service(tmp_path, SLEEPER, lifeline, [])
    program.proven = True
    running = asyncio.create_task(program.run())
    [pid] = await eventually(lambda: pids(tmp_path))
    left = ProcessRecord(tmp_path / "record.json")
    assert [process.pid for process in left.survivors()] == [pid]
    await asyncio.to_thread(left.end_survivors, 0)
    assert left.survivors() == []
    await program.end(1)
    await running


def test_a_stranger_with_the_same_pid_is_left_alone(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text(f'{{"program": [{os.getpid()}, 1.0]}}')
    assert ProcessRecord(record).survivors() == []
