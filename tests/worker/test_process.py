"""A worker process with the real engine, far from everything but the broker."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image
from tests.conftest import SHAPES, eventually
from tests.worker.processes import PATIENT_SPEC, WorkerProcess, worker_process
from tests.worker.stand_ins import Api, Desk, Operator, wanted

from captionfleet.broker.names import Names
from captionfleet_worker.main import main

SHAPES_SPEC = {
    "source": {"volume": {"path": str(SHAPES / "models" / "shapes-basic")}},
    "generation": {"maxNewTokens": 32},
}
RED = "#ff0000"


def plain(color: str) -> bytes:
    file = BytesIO()
    Image.new("RGB", (32, 32), color).save(file, "PNG")
    return file.getvalue()


def colors(count: int) -> list[str]:
    return [f"#{16 + i:02x}8040" for i in range(count)]


@pytest.fixture
def worker(
    broker_url: str, names: Names, tmp_path: Path, operator: Operator
) -> Iterator[WorkerProcess]:
    with worker_process(broker_url, names, tmp_path / "worker") as worker:
        yield worker


async def serving(operator: Operator, spec: dict[str, Any]) -> None:
    await eventually(lambda: operator.heartbeats, what="a heartbeat")
    await operator.assign({"m": wanted(spec)})
    await eventually(lambda: operator.serves("m"), seconds=90, what="a copy that consumes")


async def test_a_worker_elsewhere_captions_shapes_rightly(
    worker: WorkerProcess, operator: Operator, desk: Desk
) -> None:
    truth = json.loads((SHAPES / "pictures" / "truth.json").read_text())
    pictures = {f"shapes-{n:02d}.png": b"" for n in range(1, 9)}
    for name in pictures:
        pictures[name] = (SHAPES / "pictures" / name).read_bytes()
    await serving(operator, SHAPES_SPEC)
    tasks = await desk.send(*pictures.values())
    await eventually(lambda: len(desk.results) == len(tasks), seconds=60)
    said = desk.outcomes()
    right = [
        name for name, task in zip(pictures, tasks, strict=True)
        if said[task] in truth[name]["captions"].values()
    ]  # fmt: skip
    assert len(right) >= 7, said
    assert all(result.revision for result in desk.results)


async def test_an_agent_without_copies_is_small_and_knows_no_torch(
    worker: WorkerProcess, operator: Operator
) -> None:
    await eventually(lambda: operator.heartbeats)
    process = psutil.Process(worker.process.pid)
    assert process.memory_info().rss < 120e6
    if os.geteuid() == 0:  # nobody else may look
        assert "torch" not in Path(f"/proc/{worker.process.pid}/maps").read_text()
    assert worker.engines == []


async def test_metrics_have_their_old_names(
    worker: WorkerProcess, operator: Operator, desk: Desk
) -> None:
    await serving(operator, PATIENT_SPEC)
    worker.go()
    await desk.send(plain("#102030"))
    await desk.send(plain("#102030"), sha256="0" * 64)
    await eventually(lambda: len(desk.results) == 2)
    assert worker.metrics_url
    async with httpx.AsyncClient() as client:
        page = (await client.get(worker.metrics_url)).text
        missing = await client.get(worker.metrics_url + "/other")
    assert 'inference_duration_seconds_count{model="m"} 1.0' in page
    assert 'processed_messages_total{model="m"} 2.0' in page
    assert 'processing_errors_total{model="m"} 1.0' in page
    assert 'captionfleet_worker_copies{model="m",state="ready"} 1.0' in page
    assert 'captionfleet_worker_load_seconds_count{model="m"} 1.0' in page
    assert 'captionfleet_worker_batch_size_count{model="m"} 1.0' in page
    assert "\nworker_cpu_usage_percent " in page
    assert "\nworker_ram_usage_percent " in page
    assert missing.status_code == 404


async def probes(worker: WorkerProcess) -> dict[str, int]:
    """What its port answers to the three probes."""
    url = str(await eventually(lambda: worker.metrics_url)).removesuffix("/metrics")
    async with httpx.AsyncClient() as client:
        paths = ("/startupz", "/livez", "/readyz")
        return {path: (await client.get(url + path)).status_code for path in paths}


async def test_probes_follow_a_worker_from_its_start_to_its_drain(
    worker: WorkerProcess, operator: Operator, desk: Desk
) -> None:
    await serving(operator, PATIENT_SPEC)
    assert await probes(worker) == {"/startupz": 200, "/livez": 200, "/readyz": 200}
    await desk.send(plain("#102030"))
    await eventually(lambda: (worker.code / "begun").exists())
    worker.signal()
    await eventually(lambda: operator.last.draining)
    assert await probes(worker) == {"/startupz": 200, "/livez": 200, "/readyz": 503}
    worker.go()
    await eventually(lambda: worker.ended == 0)


@pytest.mark.services
async def test_a_worker_without_a_broker_lives_and_has_not_started(
    names: Names, tmp_path: Path
) -> None:
    nowhere = "amqp://guest:guest@127.0.0.1:1/"
    with worker_process(nowhere, names, tmp_path / "w") as worker:
        assert await probes(worker) == {"/startupz": 503, "/livez": 200, "/readyz": 503}


async def test_an_aborting_model_costs_one_picture_only(
    worker: WorkerProcess, operator: Operator, api: Api
) -> None:
    await serving(operator, PATIENT_SPEC)
    worker.go()
    wishes = [*colors(3), RED, *colors(8)[3:]]
    ids = await api.send(*[plain(color) for color in wishes])
    tasks = dict(zip(ids, wishes, strict=True))
    expected = {
        task: {"crashes_the_model" if color == RED else color} for task, color in tasks.items()
    }
    assert await api.settle({task: plain(color) for task, color in tasks.items()}) == expected
    assert worker.ended is None


async def test_a_killed_engine_costs_nothing(
    worker: WorkerProcess, operator: Operator, api: Api
) -> None:
    await serving(operator, PATIENT_SPEC)
    ids = await api.send(*[plain(color) for color in colors(6)])
    await eventually(lambda: (worker.code / "begun").exists())
    worker.engines[0].kill()
    worker.go()
    tasks = dict(zip(ids, colors(6), strict=True))
    assert await api.settle({task: plain(color) for task, color in tasks.items()}) == {
        task: {color} for task, color in tasks.items()
    }


async def test_sigterm_in_mid_batch_loses_nothing_and_exits_0(
    worker: WorkerProcess, operator: Operator, desk: Desk
) -> None:
    await serving(operator, PATIENT_SPEC)
    wishes = colors(12)
    tasks = await desk.send(*[plain(color) for color in wishes])
    await eventually(lambda: (worker.code / "begun").exists() and len(operator.last.held) == 8)
    worker.signal()
    await eventually(lambda: operator.last.draining)
    worker.go()
    await eventually(lambda: worker.ended is not None)
    assert worker.ended == 0, worker.log
    await eventually(lambda: operator.last.gone)
    said = desk.outcomes()
    for task, color in zip(tasks, wishes, strict=True):
        assert said.get(task) in (color, "returned", "suspect", None)
    assert len(said) + await desk.left() == 12
    assert set(said.values()) & set(wishes), "the running batch was finished"


async def test_a_second_sigterm_ends_worker_and_engine_at_once(
    worker: WorkerProcess, operator: Operator, desk: Desk
) -> None:
    await serving(operator, PATIENT_SPEC)
    await desk.send(plain("#102030"))
    await eventually(lambda: (worker.code / "begun").exists())
    [engine] = worker.engines
    worker.signal()
    await eventually(lambda: operator.last.draining)
    worker.signal()
    await eventually(lambda: worker.ended == 1)
    await eventually(lambda: not engine.is_running())
    await eventually(desk.left, what="the task is back in its queue")


async def test_a_cut_lifeline_ends_worker_and_engine(
    broker_url: str, names: Names, tmp_path: Path, operator: Operator, desk: Desk
) -> None:
    ours, theirs = os.pipe()
    try:
        with worker_process(
            broker_url, names, tmp_path / "w", pass_fds=(ours,), lifeline_fd=str(ours)
        ) as worker:
            await serving(operator, PATIENT_SPEC)
            [engine] = worker.engines
            os.close(theirs)
            await eventually(lambda: worker.ended is not None)
            await eventually(lambda: not engine.is_running())
    finally:
        os.close(ours)


POINTS = [
    "worker: in mid-batch",
    "worker: before result publish",
    "worker: after result publish, before confirm",
    "worker: after result, before ack",
    "worker: in drain",
]


PUBLISHED = POINTS[2:4]


@pytest.mark.parametrize("point", POINTS)
async def test_a_death_at_a_fault_point_loses_and_crosses_nothing(
    point: str, broker_url: str, names: Names, tmp_path: Path, operator: Operator, api: Api
) -> None:
    marker = tmp_path / "marker"
    with worker_process(broker_url, names, tmp_path / "one", fault=f"{point}@{marker}") as victim:
        await serving(operator, PATIENT_SPEC)
        ids = await api.send(*[plain(color) for color in colors(10)])
        tasks = dict(zip(ids, colors(10), strict=True))
        await eventually(lambda: (victim.code / "begun").exists() or victim.ended)
        if point == "worker: in drain":
            victim.signal()
        victim.go()
        await eventually(lambda: victim.ended == -signal.SIGKILL, what=f"death at {point}")
    if point in PUBLISHED:
        await eventually(lambda: api.results, what="the result that left before the death")
    with worker_process(broker_url, names, tmp_path / "two") as heir:
        heir.go()
        operator.heartbeats.clear()
        await serving(operator, PATIENT_SPEC)
        ends = await api.settle({task: plain(color) for task, color in tasks.items()})
    assert ends == {task: {color} for task, color in tasks.items()}


def test_wrong_settings_are_named_and_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPTIONFLEET_THREADS", "many-secrets")
    monkeypatch.setenv("RABBITMQ_URL", "amqp://user:many-secrets@localhost:99999/")
    assert main(["--pool", "Not A Pool"]) == 2
    said = capsys.readouterr().err
    assert "CAPTIONFLEET_POOL: String should match" in said
    assert "CAPTIONFLEET_THREADS: Input should be a valid integer" in said
    assert "RABBITMQ_URL: Value error, not an address of a broker: write amqp://" in said
    assert "many-secrets" not in said


def test_a_worker_is_unreadable_before_it_imports_anything_of_its_own() -> None:
    program = (
        "import runpy, sys, captionfleet_worker.secrecy as secrecy\n"
        "mine = lambda: [name for name in sys.modules if name.startswith('captionfleet')]\n"
        "secrecy.be_unreadable = lambda: print(mine())\n"
        "runpy.run_module('captionfleet_worker', run_name='__main__')\n"
    )
    said = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True)
    assert said.stdout.startswith("['captionfleet_worker', 'captionfleet_worker.secrecy']\nusage:")


def test_a_gpu_that_is_not_there_is_asked_for_in_vain(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    # It would bind all loggers of this process to the output of this test.
    monkeypatch.setattr("captionfleet_worker.main.configure_logging", lambda *_: None)
    assert main(["--device", "GPU"]) == 2
    assert "set CAPTIONFLEET_DEVICE=CPU" in capsys.readouterr().err
