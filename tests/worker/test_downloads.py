"""A worker's downloads as its fleet sees them: told in heartbeats, ended and resumed on demand."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.conftest import SHAPES, eventually
from tests.fakehub import TOKEN, FakeHub
from tests.worker.hubs import TOY, WEIGHTS, waits
from tests.worker.processes import WorkerProcess, worker_process
from tests.worker.stand_ins import Operator, wanted

from captionfleet.broker.names import Names
from captionfleet.messages import CopyState, Download

pytestmark = pytest.mark.services  # the worker is a process


def spec(repo: str) -> dict[str, object]:
    return {"source": {"huggingFace": {"repo": repo}}}


SPEC = spec("toys/basic")
WHOLE = SHAPES / "models" / "shapes-basic"
"""One that can be loaded."""
HOLD = 600_000


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """One that sends the first part of the weights, and waits."""
    with FakeHub() as hub:
        hub.add("toys/basic", TOY, gated=True)
        hub.hold_at = HOLD
        yield hub


@pytest.fixture
def worker(
    hub: FakeHub, broker_url: str, names: Names, tmp_path: Path, operator: Operator
) -> Iterator[WorkerProcess]:
    environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN}
    cache = str(tmp_path / "cache")
    with worker_process(
        broker_url, names, tmp_path / "worker", environment=environment, cache=cache
    ) as worker:
        yield worker


def fetchers(worker: WorkerProcess) -> list[psutil.Process]:
    children = psutil.Process(worker.process.pid).children()
    return [child for child in children if "captionfleet_worker.fetching" in child.cmdline()]


def download(operator: Operator) -> Download | None:
    copy = operator.copy("m")
    return copy.download if copy and copy.state == CopyState.DOWNLOADING else None


async def test_a_download_is_told_ended_when_nobody_wants_it_and_resumed_when_somebody_does(
    hub: FakeHub, worker: WorkerProcess, operator: Operator, tmp_path: Path
) -> None:
    await eventually(lambda: operator.heartbeats, seconds=60)
    await operator.assign({"m": wanted(SPEC)})
    await waits(hub.held, 60)
    await eventually(lambda: (told := download(operator)) and told.bytes_done > HOLD)
    told, copy = download(operator), operator.copy("m")
    assert told and (told.bytes_total, told.files_total) == (len(WEIGHTS) + 21, 2)
    assert copy and copy.message == "fetching toys/basic at main"
    assert operator.last.cached == [] and len(fetchers(worker)) == 1

    await operator.assign({})
    await eventually(lambda: not operator.last.copies and not fetchers(worker))
    [part] = tmp_path.glob("cache/models--toys--basic/blobs/*.incomplete")
    assert part.stat().st_size == HOLD

    hub.hold_at = None
    await operator.assign({"m": wanted(SPEC)})
    await eventually(lambda: operator.last.cached == ["m"], seconds=60)
    assert [start for name, start in hub.ranges if name == "model.safetensors"] == [0, HOLD]
    await eventually(lambda: operator.last.disk and operator.last.disk.cache_bytes > len(WEIGHTS),
                     seconds=60)  # fmt: skip


async def test_weights_that_are_loaded_never_make_room_for_others(
    broker_url: str, names: Names, tmp_path: Path, operator: Operator
) -> None:
    size = sum(file.stat().st_size for file in WHOLE.iterdir())
    with FakeHub() as hub, worker_process(
        broker_url, names, tmp_path / "worker", environment={"HF_ENDPOINT": hub.url},
        cache=str(tmp_path / "cache"), cache_limit=str(size * 3 // 2), cache_watermark="100",
    ):  # fmt: skip
        hub.add("shapes/a", WHOLE)
        hub.add("shapes/b", WHOLE)
        models = {name: wanted(spec(f"shapes/{name}")) for name in "ab"}
        await eventually(lambda: operator.heartbeats, seconds=60)
        await operator.assign({"a": models["a"]})
        await eventually(lambda: operator.state("a") == CopyState.READY, seconds=90)
        await operator.assign(models)
        await eventually(lambda: operator.state("b") == CopyState.FAILED, seconds=60)
        refused = operator.copy("b")
    assert refused and refused.reason == "DiskFull"
    [kept] = tmp_path.glob("cache/models--shapes--a/snapshots/*/model.safetensors")
    assert kept.exists()


async def test_the_fork_server_imports_while_the_files_of_the_first_model_are_fetched(
    broker_url: str, names: Names, tmp_path: Path, operator: Operator
) -> None:
    with (
        FakeHub() as hub,
        worker_process(
            broker_url, names, tmp_path / "worker", environment={"HF_ENDPOINT": hub.url}
        ) as worker,
    ):
        hub.add("shapes/basic", WHOLE)
        hub.hold_at = HOLD
        await eventually(lambda: operator.heartbeats, seconds=60)
        assert worker.fork_server is None
        await operator.assign({"m": wanted(spec("shapes/basic"))})
        await waits(hub.held, 60)
        server = worker.fork_server
        assert server
        hub.go_on.set()
        await eventually(lambda: operator.state("m") == CopyState.READY, seconds=90)
        assert [engine.ppid() for engine in worker.engines] == [server.pid]


async def test_a_worker_that_is_killed_takes_its_fetcher_along(
    hub: FakeHub, worker: WorkerProcess, operator: Operator
) -> None:
    await eventually(lambda: operator.heartbeats, seconds=60)
    await operator.assign({"m": wanted(SPEC)})
    await waits(hub.held, 60)
    [fetcher] = fetchers(worker)
    worker.process.kill()
    await eventually(lambda: not fetcher.is_running() or fetcher.status() == psutil.STATUS_ZOMBIE)


async def test_a_draining_worker_waits_for_no_download(
    hub: FakeHub, worker: WorkerProcess, operator: Operator
) -> None:
    await eventually(lambda: operator.heartbeats, seconds=60)
    await operator.assign({"m": wanted(SPEC)})
    await waits(hub.held, 60)
    worker.signal()
    await eventually(lambda: worker.ended == 0, seconds=30)
