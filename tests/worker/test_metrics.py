"""What a worker tells Prometheus about tasks, copies and downloads."""

import time
from pathlib import Path

from tests.conftest import eventually
from tests.worker.stand_ins import DEADLY, Desk, Workshop
from tests.worker.test_consumer import opened, said

from captionfleet.broker.link import Link
from captionfleet.messages import Copy, CopyState, Download, TaskMessage
from captionfleet_worker.downloads import Downloads
from captionfleet_worker.fetcher import Wishes
from captionfleet_worker.live_copy import LiveCopy
from captionfleet_worker.metrics import Meters
from captionfleet_worker.settings import WorkerSettings


def told(meters: Meters, name: str, **labels: str) -> float | None:
    return meters.registry.get_sample_value(name, labels)


def copy_in(state: CopyState, memory: int | None = None) -> Copy:
    return Copy(model="m", state=state, fingerprint="f", memory_bytes=memory)


def test_copies_are_counted_by_state_and_forgotten_when_they_are_gone() -> None:
    meters = Meters()
    meters.tell_copies([copy_in(CopyState.READY, 100), copy_in(CopyState.LOADING)])
    assert told(meters, "captionfleet_worker_copies", model="m", state="ready") == 1
    assert told(meters, "captionfleet_worker_copies", model="m", state="loading") == 1
    assert told(meters, "captionfleet_worker_copy_memory_bytes", model="m") == 100
    meters.tell_copies([])
    assert told(meters, "captionfleet_worker_copies", model="m", state="ready") is None


def test_bytes_that_came_are_counted_and_those_that_were_there_are_not(tmp_path: Path) -> None:
    meters = Meters()
    settings = WorkerSettings(cache=tmp_path, data=tmp_path)
    tell = Downloads(settings, Wishes, meters)._counted("m", lambda *_: None)
    for done in (40, 70, 60, 100):  # 10 were refused on the way and came again
        tell("", Download(files_done=0, files_total=1, bytes_done=done, bytes_total=100))
    assert told(meters, "captionfleet_worker_download_bytes_total", model="m") == 70


def test_a_task_remembers_when_it_was_released() -> None:
    task = TaskMessage("t", "k", "m", "s", "q", b"", released_at=12.5)
    assert TaskMessage.decode(task.headers(), "q", b"") == task


async def test_waiting_tokens_and_restarts_are_told(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    await desk.send(b"cat", released_at=time.time() - 5)
    await desk.send(DEADLY)
    await said(desk, 2)
    meters = copy._place.meters
    waited = told(meters, "captionfleet_worker_queue_wait_seconds_sum", model="m")
    assert waited is not None
    assert 5 <= waited < 60
    assert told(meters, "captionfleet_worker_tokens_total", model="m") == 3
    restarts = "captionfleet_worker_engine_restarts_total"
    await eventually(lambda: told(meters, restarts, model="m") == 2)
    assert told(meters, "captionfleet_worker_load_seconds_count", model="m") == 3


async def test_deliveries_that_were_there_before_are_told(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    workshop.gate.clear()
    await opened(copy, link)
    await desk.send(b"cat")
    await eventually(lambda: workshop.batches)
    session = await link.connected()
    await session.close()
    await copy.open(await link.connected())
    workshop.gate.set()
    redelivered = "captionfleet_worker_redelivered_total"
    await eventually(lambda: told(copy._place.meters, redelivered, model="m") == 1)
