"""custom_infer/ in a running installation: what is missing is told, what is saved is reloaded."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cli.installation import Up, started
from tests.conftest import eventually
from tests.worker.engines import plain

from captionfleet.client import Client

pytestmark = [pytest.mark.services, pytest.mark.timeout(360)]

FLEET = """
apiVersion: captionfleet.io/v1alpha1
kind: CaptionWorkerPool
metadata: {name: cpu}
spec: {device: {type: CPU}, autoscaling: {minReplicas: 1, maxReplicas: 1}}
---
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {name: late}
spec: {custom: {entrypoint: "later:Later"}}
"""
CODE = """
import os
from captionfleet import CustomModel


class {name}(CustomModel):
    def load(self): pass

    def infer(self, image): return "{said} " + str(os.getpid())
"""


class Installation:
    def __init__(self, up: Up, client: Client) -> None:
        self.up, self.client = up, client
        self._pictures = 0

    def save(self, file: str, name: str, said: str) -> None:
        (self.up.folder / "custom_infer" / file).write_text(CODE.format(name=name, said=said))

    async def said_by(self, model: str) -> tuple[str, str]:
        """(word, pid of its engine); each time of a picture that no cache knows."""
        return await self.answer(await self.ask(model))

    async def ask(self, model: str) -> str:
        """The job that asks it."""
        self._pictures += 1
        image = await self.client.upload(plain(f"#{self._pictures:06x}"), "plain.png")
        return (await self.client.create_job([image.id], [model])).id

    async def answer(self, job: str) -> tuple[str, str]:
        async def caption() -> str | None:
            [task] = [task async for task in self.client.tasks(job)]
            assert task.state != "failed", task
            return task.caption.text if task.caption else None

        word, pid = str(await eventually(caption, seconds=90, what=job)).split()
        return word, pid

    async def message(self, model: str) -> str:
        return await self.status(model, "message")

    async def status(self, model: str, field: str) -> str:
        manifest = await self.client.manifest("models", model)
        return str((manifest.get("status") or {}).get(field, ""))


@pytest.fixture(scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    folder = tmp_path_factory.mktemp("own") / "folder"
    (folder / "custom_infer").mkdir(parents=True)
    (folder / "custom_infer" / "steady.py").write_text(CODE.format(name="Steady", said="steady"))
    (folder / "fleet.yaml").write_text(FLEET)
    async with started(folder, folder.parent) as up, Client(up.url) as client:
        yield Installation(up, client)


async def test_a_class_that_no_worker_has_is_named_with_what_to_do(here: Installation) -> None:
    async def told() -> bool:
        return "no worker has the class later:Later" in await here.message("late")

    await eventually(told, seconds=60)
    message = await here.message("late")
    assert "save it as later.py" in message and "custom_infer" in message and "upload" in message
    described = await here.up.run("describe", "model", "late")
    assert "no worker has the class later:Later" in described.out
    ran = await here.up.run("get", "model", "late", "-o", "json")
    conditions = {each["type"]: each for each in json.loads(ran.out)["status"]["conditions"]}
    assert conditions["Ready"]["reason"] == conditions["Scheduled"]["reason"] == "CodeMissing"


async def test_saving_the_file_brings_the_model_and_saving_it_again_its_engine_alone(
    here: Installation,
) -> None:
    steady = await here.said_by("steady")
    here.save("later.py", "Later", "first")
    first = await here.said_by("late")
    assert first[0] == "first"
    here.save("later.py", "Later", "second")

    async def reloaded() -> tuple[str, str] | None:
        said = await here.said_by("late")
        return said if said[0] == "second" else None

    second = await eventually(reloaded, seconds=60, what="the new code")
    assert second and second[1] != first[1]
    assert await here.said_by("steady") == steady


async def test_a_mistake_is_told_with_its_line_and_saving_the_cure_heals_it(
    here: Installation,
) -> None:
    broken: Path = here.up.folder / "custom_infer" / "steady.py"
    broken.write_text("class Steady(:\n")

    async def noticed() -> bool:
        return await here.status("steady", "phase") != "Ready"

    await eventually(noticed, seconds=60, what="its engine ends")
    waiting = await here.ask("steady")

    async def told() -> bool:
        return "steady.py, line 1" in await here.message("steady")

    await eventually(told, seconds=60, what="the line of the mistake")
    here.save("steady.py", "Steady", "healed")
    assert (await here.answer(waiting))[0] == "healed"
