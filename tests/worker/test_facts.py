"""Small facts a worker tells: its pace, its files, its use of the machine, its mistrust."""

import os
import re

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


def test_usage_sums_agent_and_engines_and_forgives_the_dead() -> None:
    meters = Meters()
    usage = Usage(meters)
    usage.sample([os.getppid(), 2**22 + 1], 2**30, now=1.0)
    sum(range(10**6))
    usage.sample([os.getppid(), 2**22 + 1], 2**30, now=2.0)
    value = meters.registry.get_sample_value
    assert (value("worker_ram_usage_percent") or 0) > 0
    assert (value("worker_cpu_usage_percent") or 0) >= 0


def test_worker_ids_are_safe_path_names_and_differ() -> None:
    one, other = WorkerSettings(), WorkerSettings()
    assert one.worker != other.worker
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", default_worker_id())
    with pytest.raises(ValueError, match="worker"):
        WorkerSettings(worker="../elsewhere")
