"""`captionfleet upload`, and a running fleet that takes code without restarting a worker."""

from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from tests.cli.installation import Up, complete, started
from tests.cli.test_up import POOL
from tests.conftest import SHAPES, eventually

from captionfleet.client import Client, CodeVersion

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

CODE = """
from captionfleet import CustomModel


class Namer(CustomModel):
    def __init__(self, end="."):
        self.end = end

    def load(self):
        pass

    def infer(self, image):
        return "the first" + self.end
"""


@pytest.fixture(scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    """One worker, no model."""
    home = tmp_path_factory.mktemp("upload")
    folder = home / "fleet"
    folder.mkdir()
    (folder / "pool.yaml").write_text(POOL)
    async with started(folder, home) as running:
        yield running


async def caption(client: Client, model: str) -> str:
    """What the model says of one picture, once its newest spec is ready."""

    async def ready() -> bool:
        found = await client.manifest("models", model)
        status = found.get("status") or {}
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        return bool(current and status["phase"] == "Ready")

    await eventually(ready, seconds=90, what=f"{model} is ready")
    image = await client.upload(SHAPES / "pictures" / "shapes-01.png")
    job = await client.create_job([image.id], [model])
    await complete(client, job.id)
    [task] = [task async for task in client.tasks(job.id)]
    assert task.caption, task
    return task.caption.text


async def send(client: Client, code: str) -> CodeVersion:
    return await client.upload_code({"namer.py": code})


async def test_uploaded_code_captions_and_no_worker_is_restarted(up: Up) -> None:
    async with Client(up.url) as client:
        worker: psutil.Process = await up.program("captionfleet_worker")
        assert (await send(client, CODE)).number == 1
        assert await caption(client, "namer") == "the first."
        assert (await send(client, CODE.replace("first", "second"))).number == 2
        assert await caption(client, "namer") == "the second."
        await client.change_kwargs("namer", {"end": "!"})
        assert await caption(client, "namer") == "the second!"
        assert (await client.roll_back("namer", 1)).note == "back to version 1"
        assert await caption(client, "namer") == "the first."
        versions = await client.code_versions("namer")
        assert [each.number for each in versions if each.current] == [4]
        assert await up.program("captionfleet_worker") == worker and worker.is_running()


async def test_the_command_sends_a_file(up: Up, tmp_path: Path) -> None:
    file = tmp_path / "my_namer.py"
    file.write_text(CODE)
    ran = await up.run("upload", str(file), "--kwarg", "end=?")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("captionmodel/my-namer is version 1 (")
    async with Client(up.url) as client:
        assert await caption(client, "my-namer") == "the first?"


@pytest.mark.parametrize(
    ("code", "flags", "sentence"),
    [
        (CODE.replace("self)", "self"), [], "my_namer.py, line 9: not valid Python"),
        (CODE, ["--kwarg", "ende=?"], "Namer.__init__ takes no ende; it takes end"),
        (CODE, ["--kwarg", "end"], "write it as NAME=VALUE"),
        (CODE, ["--entrypoint", "other:Namer"], "there is no class Namer in other.py"),
    ],
)
async def test_what_cannot_be_sent_is_a_usage_error_in_words(
    up: Up, tmp_path: Path, code: str, flags: list[str], sentence: str
) -> None:
    file = tmp_path / "my_namer.py"
    file.write_text(code)
    ran = await up.run("upload", str(file), *flags)
    assert ran.code == 2 and sentence in ran.err


async def test_two_files_of_one_name_are_not_taken_for_one(up: Up, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for file in (tmp_path / "my_namer.py", tmp_path / "other" / "my_namer.py"):
        file.write_text(CODE)
    ran = await up.run("upload", str(tmp_path / "my_namer.py"), f"{tmp_path}/other/my_namer.py")
    assert ran.code == 2 and "two files are named my_namer.py" in ran.err
