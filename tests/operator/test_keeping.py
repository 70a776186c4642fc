"""What the operator keeps in step outside itself: queues on the broker, statuses, estimates."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import eventually
from tests.operator.fleets import decide, model, pool, worker, world

from captionfleet.broker.link import Session
from captionfleet.broker.names import Names
from captionfleet.catalog import FolderCatalog
from captionfleet.resources import ModelPhase, ModelStatus
from captionfleet.resources.model import ModelSpec, Source, VolumeSource
from captionfleet.sizes import WeightSizes
from captionfleet_operator.queues import ModelQueues
from captionfleet_operator.statuses import StaleStatuses, StatusWriter
from captionfleet_operator.weights import Weights

NOW = 1_800_000_000.0


async def exist(session: Session, names: Names, *models: str) -> list[str]:
    return [
        name for name in models if await session.ready_count(names.model_queue(name)) is not None
    ]


async def test_both_lanes_of_every_model_are_declared(session: Session, names: Names) -> None:
    await ModelQueues(names).keep(session, ["a"], NOW)

    assert await session.ready_count(names.model_queue("a")) == 0
    assert await session.ready_count(names.suspect_queue("a")) == 0


async def test_queues_of_a_vanished_model_go_after_two_minutes(
    session: Session, names: Names
) -> None:
    queues = ModelQueues(names)
    await queues.keep(session, ["a", "b"], NOW)

    await queues.keep(session, ["b"], NOW + 1)
    await queues.keep(session, ["b"], NOW + 120)
    assert await exist(session, names, "a", "b") == ["a", "b"]
    await queues.keep(session, ["b"], NOW + 122)

    assert await exist(session, names, "a", "b") == ["b"]


async def test_a_model_that_comes_back_in_time_keeps_its_queues(
    session: Session, names: Names
) -> None:
    queues = ModelQueues(names)
    for wanted, seconds in ((["a"], 0), ([], 1), (["a"], 60), ([], 119), ([], 200)):
        await queues.keep(session, wanted, NOW + seconds)

    assert await exist(session, names, "a") == ["a"]


async def test_queues_of_a_model_that_vanished_while_nobody_ran_are_deleted_too(
    session: Session, names: Names
) -> None:
    await ModelQueues(names).keep(session, ["a"], NOW)
    following = ModelQueues(names)

    await following.keep(session, [], NOW + 1000)
    await following.keep(session, [], NOW + 1121)

    assert await exist(session, names, "a") == []


async def test_a_queue_that_somebody_deleted_is_declared_again(
    session: Session, names: Names
) -> None:
    queues = ModelQueues(names)
    await queues.keep(session, ["a"], NOW)
    async with session.channel() as channel:
        await channel.queue_delete(names.model_queue("a"))

    await queues.keep(session, ["a"], NOW + 31)

    assert await exist(session, names, "a") == ["a"]


async def test_a_queue_of_another_kind_is_a_trouble_of_that_model_alone(
    session: Session, names: Names
) -> None:
    async with session.channel() as channel:
        await channel.declare_queue(names.model_queue("a"), durable=True)
    queues = ModelQueues(names)

    await queues.keep(session, ["a", "b"], NOW)

    assert "x-queue-type" in queues.trouble["a"]
    assert queues.trouble.keys() == {"a"}
    assert await exist(session, names, "b") == ["b"]


class CountingCatalog(FolderCatalog):
    """Counts writes."""

    writes = 0

    async def write_status(self, kind: str, name: str, status: Any) -> None:
        self.writes += 1
        await super().write_status(kind, name, status)


@pytest.fixture
def catalog(tmp_path: Path) -> CountingCatalog:
    (tmp_path / "catalog").mkdir()
    return CountingCatalog(tmp_path / "catalog", tmp_path / "data")


def status(**facts: Any) -> ModelStatus:
    seen = world(models=[model("a")], pools=[pool()], workers=[worker()])
    return decide(seen).model_statuses["a"].model_copy(update=facts)


@pytest.fixture
async def writer(catalog: CountingCatalog) -> AsyncIterator[StatusWriter]:
    writer = StatusWriter(catalog, numbers_seconds=2)
    running = asyncio.create_task(writer.run())
    yield writer
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def want(writer: StatusWriter, wanted: ModelStatus, seconds: float) -> None:
    """Ask for a status of model a, and wait until it is written or known to be there."""
    writer.want("CaptionModel", {"a": wanted}, {"a": model("a").manifest}, NOW + seconds)
    await eventually(lambda: writer.queue.idle)


async def test_an_unchanged_status_is_written_once(
    writer: StatusWriter, catalog: CountingCatalog
) -> None:
    for second in range(10):
        await want(writer, status(), second)

    assert catalog.writes == 1


async def test_live_numbers_are_written_every_two_seconds_and_a_phase_at_once(
    writer: StatusWriter, catalog: CountingCatalog
) -> None:
    await want(writer, status(message="1 s"), 0)
    await want(writer, status(message="2 s"), 1)
    assert catalog.writes == 1

    await want(writer, status(phase=ModelPhase.LOADING), 1.5)
    assert catalog.writes == 2
    await want(writer, status(phase=ModelPhase.LOADING, message="3 s"), 3.6)

    assert catalog.writes == 3


async def test_what_an_earlier_operator_wrote_is_not_written_again(
    writer: StatusWriter, catalog: CountingCatalog
) -> None:
    manifest = model("a").manifest.model_copy(update={"status": status()})

    writer.want("CaptionModel", {"a": status()}, {"a": manifest}, NOW)
    await eventually(lambda: writer.queue.idle)

    assert catalog.writes == 0


async def test_a_status_that_could_not_be_written_is_written_later(
    writer: StatusWriter, catalog: CountingCatalog
) -> None:
    (catalog._statuses).mkdir(parents=True)
    blocked = catalog._statuses / "CaptionModel"
    blocked.write_text("a file where a folder should be")
    writer.want("CaptionModel", {"a": status()}, {"a": model("a").manifest}, NOW)
    await eventually(lambda: writer.queue.failing(("CaptionModel", "a")))

    blocked.unlink()

    await eventually(lambda: (blocked / "a.json").exists())


def test_statuses_of_vanished_resources_are_removed_after_a_while(tmp_path: Path) -> None:
    folder = tmp_path / "CaptionModel"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.json").write_text("{}")
    stale = StaleStatuses(tmp_path)

    stale.remove({"CaptionModel": ["a"]}, NOW)
    stale.remove({"CaptionModel": ["a"]}, NOW + 119)
    assert (folder / "b.json").exists()
    stale.remove({"CaptionModel": ["a"]}, NOW + 121)

    assert [file.name for file in folder.iterdir()] == ["a.json"]


def test_weights_are_looked_up_where_this_machine_has_them(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"12345")
    spec = ModelSpec(source=Source(volume=VolumeSource(path=str(tmp_path))))

    assert Weights().sizes(spec) == WeightSizes(stored=5, numbers=0, kept=5)
    assert Weights().sizes(model("hub").spec) is None
