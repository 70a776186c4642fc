"""Worker processes of this machine: record, adoption, drain, kill, back-off. Real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr
from tests.conftest import eventually
from tests.operator.fleets import pool, world
from tests.operator.running import FAKES

from captionfleet_operator.local.backoff import after_end
from captionfleet_operator.local.environment import threads, worker_environment
from captionfleet_operator.local.process import LAUNCH_FLAG, find
from captionfleet_operator.local.record import WorkerRecord, WorkersFile
from captionfleet_operator.local.sole import AlreadyRunning, hold
from captionfleet_operator.local.workers import LocalWorkers
from captionfleet_operator.planner import Plan, PoolPlan
from captionfleet_operator.settings import OperatorSettings
from captionfleet_operator.workers import Trouble

pytestmark = pytest.mark.services  # engines and programs are processes

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
NOW = 1_800_000_000.0


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OperatorSettings:
    """Settings whose workers find no broker: they start, and try to connect."""
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    monkeypatch.setenv("RABBITMQ_URL", "amqp://127.0.0.1:9/")
    return OperatorSettings(data=tmp_path)


@pytest.fixture
async def local(settings: OperatorSettings) -> AsyncIterator[LocalWorkers]:
    workers = LocalWorkers(settings, settings.data)
    yield workers
    for record in WorkersFile(settings.data).read().values():
        if record.pid:
            os.kill(record.pid, signal.SIGKILL)
    await eventually(lambda: workers.look(NOW) is not None and not ids(workers))


def keep(local: LocalWorkers, size: int, *drain: str, now: float = NOW, **spec: Any) -> None:
    size_of_pool = PoolPlan(workers=size, drain=drain, reason="", work_seconds=0)
    plan = Plan(pools={"cpu": size_of_pool}, waiting={}, pool_sentences={})
    local.act(world(pools=[pool(**spec)], now=now), plan)


def ids(local: LocalWorkers) -> set[str]:
    return {own.id for own in local.of_pool("cpu", NOW)}


def records(settings: OperatorSettings) -> dict[str, WorkerRecord]:
    return WorkersFile(settings.data).read()


def test_workers_take_the_lowest_free_numbers(local: LocalWorkers) -> None:
    keep(local, 2)
    keep(local, 2)
    assert ids(local) == {"cpu-1", "cpu-2"}

    keep(local, 2, "cpu-1")

    assert ids(local) == {"cpu-1", "cpu-2", "cpu-3"}
    assert [own.draining for own in local.of_pool("cpu", NOW)] == [True, False, False]


def test_every_worker_has_its_own_process_group(
    local: LocalWorkers, settings: OperatorSettings
) -> None:
    keep(local, 1)

    pid = records(settings)["cpu-1"].pid

    assert pid and os.getpgid(pid) == pid


async def test_a_drained_worker_is_gone_without_a_back_off(local: LocalWorkers) -> None:
    keep(local, 1)
    keep(local, 0, "cpu-1")

    await eventually(lambda: local.look(NOW + 1) == {"cpu-1"})

    assert local.trouble("cpu", NOW + 1) == Trouble()


async def test_a_worker_that_outstays_its_grace_is_killed(
    local: LocalWorkers, settings: OperatorSettings
) -> None:
    keep(local, 1, env={"FAKE_STUBBORN": "1"}, drain={"timeoutSeconds": 10})
    pid = records(settings)["cpu-1"].pid
    await eventually(lambda: _ignores_sigterm(pid))
    keep(local, 0, "cpu-1", drain={"timeoutSeconds": 10})

    assert local.look(NOW + 14) == set()
    local.look(NOW + 16)

    await eventually(lambda: local.look(NOW + 17) == {"cpu-1"})


async def test_a_fallen_worker_pauses_before_it_is_started_again(
    local: LocalWorkers, settings: OperatorSettings
) -> None:
    keep(local, 1)
    first = records(settings)["cpu-1"].pid
    assert first
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: local.look(NOW + 5) == {"cpu-1"})

    keep(local, 1, now=NOW + 5.5)
    assert ids(local) == set()
    said = local.trouble("cpu", NOW + 5.5).sentence
    keep(local, 1, now=NOW + 6.1)

    assert ids(local) == {"cpu-1"}
    assert said.startswith("worker cpu-1 was ended by SIGKILL (see ")
    assert said.endswith("cpu-1/worker.log); it is started again in 1 s")


def test_pauses_double_up_to_a_minute_and_start_anew_after_a_long_life() -> None:
    pauses, off = [], None
    for _ in range(8):
        off = after_end(off, now=0.0, lived=1.0, what="")
        pauses.append(off.until)

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert after_end(off, now=0.0, lived=60.0, what="").until == 1


def test_the_next_operator_adopts_what_runs_and_forgets_what_does_not(
    local: LocalWorkers, settings: OperatorSettings
) -> None:
    keep(local, 1)
    known = records(settings)
    gone = WorkerRecord(pool="cpu", launch="nobody", begun=NOW, pid=2**22 - 1, started=1.0)
    WorkersFile(settings.data).write({**known, "cpu-2": gone})

    following = LocalWorkers(settings, settings.data)
    following.adopt()

    assert ids(following) == {"cpu-1"}
    assert records(settings).keys() == {"cpu-1"}


def test_a_stranger_with_the_same_pid_is_not_adopted() -> None:
    stranger = WorkerRecord(pool="cpu", launch="x", begun=NOW, pid=os.getpid(), started=1.0)

    assert find(stranger) is None


def test_a_worker_whose_pid_was_never_written_is_found_by_its_launch_mark() -> None:
    child = subprocess.Popen([*SLEEP, LAUNCH_FLAG, "mark-1"], process_group=0)
    try:
        found = find(WorkerRecord(pool="cpu", launch="mark-1", begun=NOW))
        assert found and found.pid == child.pid
    finally:
        child.kill()
        child.wait()


def test_a_damaged_record_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "operator" / "workers.json"
    file.parent.mkdir()
    file.write_text("{")

    with pytest.raises(ValueError, match=r"workers.json is damaged .* then remove it"):
        WorkersFile(tmp_path).read()


def test_only_one_operator_holds_a_data_folder(tmp_path: Path) -> None:
    with hold(tmp_path), pytest.raises(AlreadyRunning, match="CAPTIONFLEET_DATA"):
        hold(tmp_path, seconds=0)

    hold(tmp_path, seconds=0).close()


def environment(settings: OperatorSettings, **spec: Any) -> dict[str, str]:
    inherited = {"PATH": "/bin", "CAPTIONFLEET_TOKEN": "secret", "CAPTIONFLEET_THREADS": "99"}
    manifest = pool(**spec).manifest
    return worker_environment(inherited, settings, Path("/code"), manifest, "cpu-1")


def test_a_worker_gets_its_identity_and_the_pool_s_variables_but_not_the_token(
    tmp_path: Path,
) -> None:
    settings = OperatorSettings(data=tmp_path, RABBITMQ_URL=SecretStr("amqp://x/"))

    made = environment(settings, env={"HF_HOME": "/cache", "CAPTIONFLEET_WORKER": "mine"})

    assert made["HF_HOME"] == "/cache"
    assert made["RABBITMQ_URL"] == "amqp://x/"
    assert (made["CAPTIONFLEET_POOL"], made["CAPTIONFLEET_WORKER"]) == ("cpu", "cpu-1")
    assert made["CAPTIONFLEET_LOGS"] == str(tmp_path / "logs" / "cpu-1")
    assert "CAPTIONFLEET_TOKEN" not in made


def test_the_cores_are_shared_between_the_most_workers_there_may_be(
    monkeypatch: pytest.MonkeyPatch, settings: OperatorSettings
) -> None:
    monkeypatch.setattr("captionfleet_operator.local.environment._cores", lambda: 8)

    assert threads(pool(autoscaling={"maxReplicas": 3}).manifest) == 2
    assert threads(pool(autoscaling={"maxReplicas": 99}).manifest) == 1
    assert threads(pool(autoscaling={"mode": "Off"}, replicas=1).manifest) == 8
    assert environment(settings)["CAPTIONFLEET_THREADS"] == "2"
    assert environment(settings, env={"CAPTIONFLEET_THREADS": "5"})["CAPTIONFLEET_THREADS"] == "5"


def _ignores_sigterm(pid: int | None) -> bool:
    """The fake got as far as turning deaf."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(mask, 16) & 1 << (signal.SIGTERM - 1)) and psutil.pid_exists(pid or 0)
