"""The folder of custom code, watched."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.conftest import eventually

from captionfleet_worker import custom_code
from captionfleet_worker.custom_code import CustomCode

CLASS = "from captionfleet import CustomModel\n\n\nclass Mine(CustomModel):\n    pass\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "custom_infer"


@pytest.fixture
async def code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CustomCode]:
    monkeypatch.setattr(custom_code, "_STEP_MS", 50)
    monkeypatch.setattr(custom_code, "_LOOK_AGAIN_SECONDS", 1)
    code = CustomCode(folder, lambda: None)
    watching = asyncio.create_task(code.watch())
    yield code
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_folder_that_comes_later_is_found(code: CustomCode, folder: Path) -> None:
    assert code.classes == []
    folder.mkdir()
    (folder / "mine.py").write_text(CLASS)
    await eventually(lambda: [each.entrypoint for each in code.classes] == ["mine:Mine"])


async def test_a_change_gives_another_digest_and_a_removal_none(
    code: CustomCode, folder: Path
) -> None:
    folder.mkdir()
    file = folder / "mine.py"
    file.write_text(CLASS)
    await eventually(lambda: code.sha256_of("mine:Mine"))
    before = code.sha256_of("mine:Mine")
    file.write_text(CLASS + "# changed\n")
    await eventually(lambda: code.sha256_of("mine:Mine") not in (None, before))
    file.unlink()
    await eventually(lambda: code.sha256_of("mine:Mine") is None)


def test_code_that_is_no_python_is_left_out_and_told_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir()
    (folder / "mine.py").write_text(CLASS)
    (folder / "broken.py").write_text("class Mine(:\n")
    code = CustomCode(folder, lambda: None)
    code.refresh()
    assert [each.entrypoint for each in code.classes] == ["mine:Mine"]
    assert capsys.readouterr().out.count("not valid Python") == 1
