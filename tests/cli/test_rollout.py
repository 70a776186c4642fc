"""A spec is changed on a real fleet while pictures come: each is captioned, by one of the two."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image, ImageDraw
from tests.cli.installation import Up, complete, copy_of_shapes, started
from tests.conftest import eventually

from captionfleet.client import Client, Task

pytestmark = [pytest.mark.services, pytest.mark.timeout(360)]

MODEL = "shapes-basic"
_MOST_OPEN = 6
"""Jobs that a stream has open: on a slow machine it would else run ahead of all captions."""


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    """One installation with one model."""
    folder = copy_of_shapes(tmp_path / "shapes")
    shutil.rmtree(folder / "custom_infer")
    change(folder)
    async with started(folder, tmp_path) as running:
        yield running


def change(folder: Path, weights: str = MODEL, **spec: Any) -> None:
    """Say in the person's own file what the model is made of."""
    manifest = {
        "apiVersion": "captionfleet.io/v1alpha1", "kind": "CaptionModel",
        "metadata": {"name": MODEL},
        "spec": {
            "source": {"volume": {"path": f"models/{weights}"}},
            "generation": {"maxNewTokens": 32}, **spec,
        },
    }  # fmt: skip
    fresh = folder / "models.yaml.new"
    fresh.write_text(yaml.safe_dump(manifest))
    fresh.replace(folder / "models.yaml")


@dataclass
class Stream:
    """Pictures, one job after the other, until it is told to stop; each picture is a new one."""

    client: Client
    jobs: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    """Moments at which no copy was ready."""
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        while not self.stopped.is_set():
            number = len(self.jobs)
            if number >= _MOST_OPEN:
                await complete(self.client, self.jobs[number - _MOST_OPEN])
            image = await self.client.upload(picture(number), f"{number}.png")
            job = await self.client.create_job([image.id], [MODEL])
            self.jobs.append(job.id)
            await self._look()

    async def _look(self) -> None:
        copies = [copy for each in await self.client.workers() for copy in each.copies]
        if not any(copy.state == "ready" for copy in copies):
            self.gaps.append(", ".join(f"{copy.model} {copy.state}" for copy in copies))

    async def tasks(self) -> list[Task]:
        for job in self.jobs:
            await complete(self.client, job)
        return [task for job in self.jobs async for task in self.client.tasks(job)]


def picture(number: int) -> bytes:
    drawn = Image.new("RGB", (96, 96), (250, 250, 250 - number % 200))
    ImageDraw.Draw(drawn).ellipse((10 + number % 40, 20, 50 + number % 40, 60), fill="red")
    file = BytesIO()
    drawn.save(file, "PNG")
    return file.getvalue()


async def status(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = (await client.manifest("models", MODEL)).get("status") or {}
    return found


async def ready(client: Client) -> None:
    async def proven() -> bool:
        return (await status(client)).get("phase") == "Ready"

    await eventually(proven, seconds=90, what="a copy that captions")


async def captioned_by_two(client: Client, stream: Stream) -> None:
    """Wait until pictures of the stream were captioned by a second revision."""

    async def seen() -> bool:
        late = [task async for task in client.tasks(stream.jobs[-2])]
        early = [task async for task in client.tasks(stream.jobs[0])]
        revisions = {task.caption.revision for task in (*early, *late) if task.caption}
        return len(revisions) == 2

    await eventually(seen, seconds=90, what="captions by the changed spec")


async def test_a_changed_spec_takes_over_without_a_gap_or_a_failed_task(up: Up) -> None:
    async with Client(up.url) as client:
        await ready(client)
        stream = Stream(client)
        running = asyncio.create_task(stream.run())
        await eventually(lambda: len(stream.jobs) > 5)
        change(up.folder, "shapes-weak")
        await captioned_by_two(client, stream)
        stream.stopped.set()
        await running
        tasks = await stream.tasks()
        assert {task.state for task in tasks} == {"captioned"}
        revisions = [task.caption.revision for task in tasks if task.caption]
        assert len(set(revisions)) == 2
        assert stream.gaps == []
        assert (await status(client))["phase"] == "Ready"


async def test_recreate_says_why_nothing_serves_and_still_fails_no_task(up: Up) -> None:
    change(up.folder, rollout={"strategy": "Recreate"})
    async with Client(up.url) as client:
        await ready(client)
        stream = Stream(client)
        running = asyncio.create_task(stream.run())
        await eventually(lambda: len(stream.jobs) > 5)
        change(up.folder, "shapes-weak", rollout={"strategy": "Recreate"})

        async def told() -> bool:
            found = await status(client)
            return found["phase"] == "Updating" and "Recreate" in found["message"]

        await eventually(told, seconds=30, what="the reason of the gap")
        await captioned_by_two(client, stream)
        stream.stopped.set()
        await running
        assert {task.state for task in await stream.tasks()} == {"captioned"}


async def test_a_spec_that_cannot_be_loaded_leaves_the_old_copy_captioning(up: Up) -> None:
    async with Client(up.url) as client:
        await ready(client)
        before = (await status(client))["revision"]["active"]
        broken = up.folder / "models" / "broken"
        broken.mkdir()
        (broken / "config.json").write_text("{}")
        change(up.folder, "broken", rollout={"progressDeadlineSeconds": 4})

        async def judged() -> dict[str, Any] | None:
            found = await status(client)
            by_type = {each["type"]: each for each in found["conditions"]}
            late = by_type["Progressing"]["reason"] == "ProgressDeadlineExceeded"
            return found if late and by_type["Degraded"]["status"] == "True" else None

        found = await eventually(judged, seconds=60, what="the failure and the deadline told")
        assert found["phase"] == "Degraded"
        assert (found["copies"]["loaded"], found["revision"]["active"]) == (1, before)
        assert found["lastFailure"]["message"] in found["message"]
        stream = Stream(client)
        running = asyncio.create_task(stream.run())
        await eventually(lambda: len(stream.jobs) > 3)
        stream.stopped.set()
        await running
        tasks = await stream.tasks()
        assert {task.caption and task.caption.revision for task in tasks} == {before}
