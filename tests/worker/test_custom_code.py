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


def test_code_that_is_no_python_is_told_once_and_known_to_be_here(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir()
    (folder / "mine.py").write_text(CLASS)
    (folder / "broken.py").write_text("class Mine(:\n")
    code = CustomCode(folder, lambda: None)
    code.refresh()
    assert [each.entrypoint for each in code.classes] == ["broken:*", "mine:Mine"]
    problem = "not valid Python: invalid syntax (broken.py, line 1)"
    assert [each.problem for each in code.classes] == [problem, ""]
    assert code.sha256_of("broken:Anything") and not code.sha256_of("mine:Anything")
    assert capsys.readouterr().out.count("not valid Python") == 1


def digests(folder: Path) -> dict[str, str]:
    return {each.entrypoint: each.sha256 for each in CustomCode(folder, lambda: None).classes}


def test_a_helper_changes_the_digests_of_those_who_use_it_alone(folder: Path) -> None:
    (folder / "tools").mkdir(parents=True)
    (folder / "mine.py").write_text(f"from tools import words\n{CLASS}")
    (folder / "tools" / "words.py").write_text("from . import deeper\n")
    (folder / "tools" / "deeper.py").write_text("WORD = 'one'\n")
    (folder / "other.py").write_text(CLASS)
    before = digests(folder)
    (folder / "tools" / "deeper.py").write_text("WORD = 'another'\n")
    after = digests(folder)
    assert before["mine:Mine"] != after["mine:Mine"]
    assert before["other:Mine"] == after["other:Mine"]


def test_modules_that_import_each_other_have_a_digest(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine.py").write_text(f"import other\n{CLASS}")
    (folder / "other.py").write_text(f"import mine\n{CLASS}")
    assert set(digests(folder)) == {"mine:Mine", "other:Mine"}


def test_every_class_that_may_be_named_is_reported(folder: Path) -> None:
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "model.py").write_text(CLASS)
    (folder / "mine.py").write_text(
        "class Base(CustomModel):\n    pass\nclass Mine(Base):\n    def infer(self, i): pass\n"
        "class Foreign:\n    def infer(self, i): pass\nclass Note:\n    pass\n"
    )
    assert set(digests(folder)) == {"deep.model:Mine", "mine:Base", "mine:Mine", "mine:Foreign"}


async def test_a_file_in_a_folder_below_is_watched_too(code: CustomCode, folder: Path) -> None:
    (folder / "deep").mkdir(parents=True)
    file = folder / "deep" / "model.py"
    file.write_text(CLASS)
    await eventually(lambda: code.sha256_of("deep.model:Mine"))
    before = code.sha256_of("deep.model:Mine")
    file.write_text(CLASS + "# changed\n")
    await eventually(lambda: code.sha256_of("deep.model:Mine") != before)
