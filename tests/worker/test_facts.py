"""Small facts a worker tells: its pace, its files, its use of the machine, its mistrust."""

import os
import re
from pathlib import Path

import pytest

from captionfleet_worker.files_here import files_here
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


def test_files_of_a_folder_are_here_if_the_folder_is(tmp_path: Path) -> None:
    assert files_here({"source": {"volume": {"path": str(tmp_path)}}}, None, False)
    assert not files_here({"source": {"volume": {"path": str(tmp_path / "no")}}}, None, False)


def test_files_of_a_claim_are_here_where_the_operator_says_it_is_mounted(tmp_path: Path) -> None:
    volume = {"claimName": "models", "path": str(tmp_path)}
    assert files_here({"source": {"volume": volume}}, None, False)
    assert not files_here({"source": {"volume": volume | {"path": "/volumes/no/x"}}}, None, False)


def test_files_of_a_hub_are_here_if_its_cache_has_the_revision(tmp_path: Path) -> None:
    spec = {"source": {"huggingFace": {"repo": "owner/name", "revision": "main"}}}
    assert not files_here(spec, tmp_path, False)
    repo = tmp_path / "models--owner--name"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("abc")
    assert not files_here(spec, tmp_path, False)
    (repo / "snapshots" / "abc").mkdir(parents=True)
    (repo / "snapshots" / "abc" / "config.json").write_text("{}")
    assert files_here(spec, tmp_path, False)
    commit = {"source": {"huggingFace": {"repo": "owner/name", "revision": "abc"}}}
    assert files_here(commit, tmp_path, False)


def test_the_hub_cache_is_the_one_hf_home_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    snapshot = tmp_path / "hub" / "models--o--n" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert files_here({"source": {"huggingFace": {"repo": "o/n", "revision": "abc"}}}, None, False)


def test_custom_code_is_here_if_its_class_was_found() -> None:
    spec = {"custom": {"entrypoint": "a:B"}}
    assert files_here(spec, None, True)
    assert not files_here(spec, None, False)


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
