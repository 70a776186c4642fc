"""Small facts a worker tells: its pace, its files, its use of the machine, its mistrust."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from captionfleet_worker.measuring import Pace
from captionfleet_worker.metrics import Meters, Usage
from captionfleet_worker.settings import WorkerSettings, default_worker_id
from captionfleet_worker.watchdog import MISTRUST_SECONDS, mistrusted


def test_the_pace_is_kept_per_batch_size_and_smoothed() -> None:
    pace = Pace()
    pace.note(4, 4.0)
    pace.note(8, 1.0)
    assert pace.rates == {4: 1.0, 8: 8.0}
    for _ in range(30):
        pace.note(4, 2.0)
    assert pace.rates[4] == pytest.approx(2.0, rel=0.01)
    assert pace.median_seconds == 0.5


def test_no_work_has_no_pace() -> None:
    assert Pace().median_seconds is None


@pytest.mark.parametrize(
    ("quiet", "ready", "expected"),
    [(MISTRUST_SECONDS, 1, True), (MISTRUST_SECONDS - 1, 9, False), (9999, 0, False)],
)
def test_silence_is_suspicious_only_while_work_waits(
    quiet: float, ready: int, expected: bool
) -> None:
    assert mistrusted(quiet, ready) == expected


# At a word it takes 200 MB and half a second of processor time, and says how much it was; at
# another it ends.
BUSY = """
import time
print("here", flush=True)
input()
begun = time.process_time()
taken = b"x" * 200_000_000
while time.process_time() < begun + 0.5:
    pass
print(time.process_time() - begun, flush=True)
input()
"""
# As an agent, or an engine whose code starts a program.
STARTS = f"""
import subprocess, sys
subprocess.run([sys.executable, '-c', {BUSY!r}], check=True)
print("ended", flush=True)
input()
"""


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", STARTS]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout and program.stdout.readline() == "here\n"
        yield program
        program.kill()


def answer(program: subprocess.Popen[str]) -> str:
    """What it says to the next word."""
    assert program.stdin and program.stdout
    program.stdin.write("\n")
    program.stdin.flush()
    return program.stdout.readline()


def usage_at(meters: Meters, usage: Usage, now: float) -> tuple[float, float]:
    """Percent of a core, and of a machine with 1 GB."""
    usage.sample(10**9, now)
    value = meters.registry.get_sample_value
    return value("worker_cpu_usage_percent") or 0, value("worker_ram_usage_percent") or 0


def test_usage_is_that_of_all_below_the_worker_whatever_started_it(
    busy: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if it were the worker: what else runs below the tests' own process may be busy too.
    monkeypatch.setattr("captionfleet_worker.metrics.os.getpid", lambda: busy.pid)
    meters = Meters()
    usage = Usage(meters)
    _, before = usage_at(meters, usage, 1.0)
    worked = 100 * float(answer(busy))
    cpu, ram = usage_at(meters, usage, 2.0)
    assert worked - 5 < cpu < worked + 20  # the kernel counts in hundredths of a second
    assert 19 < ram - before < 30
    assert answer(busy) == "ended\n"
    idle, after = usage_at(meters, usage, 3.0)
    assert 0 <= idle < 25  # what has ended is not counted twice, nor taken back
    assert after < before + 5


def test_a_program_that_comes_and_goes_between_two_looks_is_counted() -> None:
    meters = Meters()
    usage = Usage(meters)
    usage_at(meters, usage, 1.0)
    command = [sys.executable, "-c", BUSY]
    ran = subprocess.run(command, input="\n\n", stdout=subprocess.PIPE, text=True, check=True)
    worked = 100 * float(ran.stdout.split()[-1])
    assert usage_at(meters, usage, 2.0)[0] > worked - 5


def test_worker_ids_are_safe_path_names_and_differ() -> None:
    one, other = WorkerSettings(), WorkerSettings()
    assert one.worker != other.worker
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", default_worker_id())
    with pytest.raises(ValueError, match="worker"):
        WorkerSettings(worker="../elsewhere")
