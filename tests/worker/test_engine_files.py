"""Code that comes in a manifest: where it lies, what it wins over, how its mistakes are told."""

from pathlib import Path
from typing import Any

import pytest
from tests.conftest import eventually
from tests.worker.engines import engine_of, order_for, plain

from captionfleet.resources.model import CustomFile
from captionfleet_worker.custom_code import code_of
from captionfleet_worker.engine.own_files import write_files
from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.engine_process import EngineDied, EngineProcess, Shot
from captionfleet_worker.engine_room import clear_rooms, make_room

HEAD = "from captionfleet import CustomModel\nclass Own(CustomModel):\n    def load(self): pass\n"
SAYS_WORD = f"import helper\n{HEAD}    def infer(self, image): return helper.WORD\n"


def spec_of(files: dict[str, str], entrypoint: str = "own:Own", **more: Any) -> dict[str, Any]:
    listed = [{"path": path, "content": content} for path, content in files.items()]
    return {
        "custom": {"entrypoint": entrypoint, "files": listed},
        "acceptance": {"smokeTest": False},
        **more,
    }


async def caption(spec: dict[str, Any], place: Path) -> str | None:
    async with engine_of(order_for(spec, place)) as engine:
        [answer] = await engine.run([Shot(plain(), "")], {})
    return answer.text or answer.error_message


async def refused(spec: dict[str, Any], place: Path) -> LoadFailed:
    """Why this order cannot be carried out."""
    with pytest.raises(LoadFailed) as failed:
        await EngineProcess.start(order_for(spec, place), lambda sentence: None)
    return failed.value


def rooms(place: Path) -> list[Path]:
    return list((place / "rooms").iterdir())


@pytest.mark.services
async def test_files_of_a_manifest_win_over_the_folder_and_are_gone_afterwards(
    tmp_path: Path,
) -> None:
    (tmp_path / "own.py").write_text("the folder's own, which is no Python")
    (tmp_path / "helper.py").write_text("WORD = 'from the folder'")
    files = {"own.py": SAYS_WORD, "helper.py": "WORD = 'from the manifest'"}
    async with engine_of(order_for(spec_of(files), tmp_path)) as engine:
        [answer] = await engine.run([Shot(plain(), "")], {})
        [room] = rooms(tmp_path)
        assert room.stat().st_mode & 0o777 == 0o700
        assert (room / "code" / "own.py").read_text() == SAYS_WORD
    assert answer.text == "from the manifest"
    assert rooms(tmp_path) == []


@pytest.mark.services
async def test_what_the_manifest_lacks_is_found_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("WORD = 'from the folder'")
    assert await caption(spec_of({"own.py": SAYS_WORD}), tmp_path) == "from the folder"


@pytest.mark.services
async def test_code_in_folders_imports_its_neighbors(tmp_path: Path) -> None:
    code = SAYS_WORD.replace("import helper", "from . import helper")
    files = {"mine/models/own.py": code, "mine/models/helper.py": "WORD = 'ä neighbor\\n'"}
    assert await caption(spec_of(files, "mine.models.own:Own"), tmp_path) == "ä neighbor"


@pytest.mark.services
async def test_a_mistake_is_told_by_the_path_that_its_author_wrote(tmp_path: Path) -> None:
    bug = f"{HEAD}    def infer(self, image):\n        return 1 / 0\n"
    told = await caption(spec_of({"mine/own.py": bug}, "mine.own:Own"), tmp_path)
    assert told == "ZeroDivisionError: division by zero (mine/own.py, line 5, in infer)"
    files = {"own.py": f"import mine.helper\n{HEAD}", "mine/helper.py": "def f(:\n"}
    failed = await refused(spec_of(files), tmp_path)
    assert (failed.reason, failed.retriable) == ("CodeError", False)
    assert failed.message == "SyntaxError: invalid syntax (mine/helper.py, line 1)"
    assert 'File "own.py", line 1, in <module>' in (tmp_path / "logs" / "m.log").read_text()
    assert rooms(tmp_path) == []


@pytest.mark.services
async def test_an_entrypoint_that_is_nowhere_is_told_by_its_fields(tmp_path: Path) -> None:
    failed = await refused(spec_of({"own.py": SAYS_WORD}, "other:Own"), tmp_path)
    assert failed.reason == "SourceNotFound"
    assert f"no other.py, neither in spec.custom.files nor in {tmp_path}" in failed.message
    assert "spec.custom.entrypoint" in failed.message


@pytest.mark.services
async def test_the_revision_follows_the_files(tmp_path: Path) -> None:
    revisions = []
    for word in ("one", "one", "another"):
        files = {"own.py": SAYS_WORD, "helper.py": f"WORD = {word!r}"}
        async with engine_of(order_for(spec_of(files), tmp_path)) as engine:
            revisions.append(engine.loaded.revision)
    assert revisions[0] == revisions[1] != revisions[2]


@pytest.mark.services
async def test_an_engine_that_died_leaves_no_room_behind(tmp_path: Path) -> None:
    code = f"import os\n{HEAD}    def infer(self, image): os.abort()\n"
    async with engine_of(order_for(spec_of({"own.py": code}), tmp_path)) as engine:
        with pytest.raises(EngineDied):
            await engine.run([Shot(plain(), "")], {})
        await eventually(lambda: rooms(tmp_path) == [])


@pytest.mark.services
async def test_a_data_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "rooms").write_text("a file where a folder should be")
    failed = await refused(spec_of({"own.py": SAYS_WORD}), tmp_path)
    assert failed.retriable
    assert f"cannot write {tmp_path / 'rooms'}" in failed.message
    assert "CAPTIONFLEET_DATA" in failed.message


@pytest.mark.parametrize(
    "path", ["/etc/x.py", "../x.py", "a/../../x.py", ".", "", "a\\..\\x.py", "a\0b.py", "a\nb.py"]
)
def test_a_path_that_leads_elsewhere_is_refused_before_anything_is_written(
    path: str, tmp_path: Path
) -> None:
    good = CustomFile(path="good.py", content="")
    bad = CustomFile.model_construct(path=path, content="x = 1")
    with pytest.raises(LoadFailed, match=r"spec\.custom\.files") as failed:
        write_files([good, bad], tmp_path / "room" / "code")
    assert failed.value.reason == "InvalidSpec"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", ["a.py", "./a.py", "a.py/b.py"])
def test_files_in_the_same_place_are_refused(other: str, tmp_path: Path) -> None:
    files = [CustomFile(path="a.py", content="1"), CustomFile(path=other, content="2")]
    with pytest.raises(LoadFailed, match="cannot be written"):
        write_files(files, tmp_path)
    assert (tmp_path / "a.py").read_text() == "1"


def test_a_file_is_written_as_it_stands_in_the_manifest(tmp_path: Path) -> None:
    write_files([CustomFile(path="a/b.py", content="é\r\n# end")], tmp_path)
    assert (tmp_path / "a" / "b.py").read_bytes() == "é\r\n# end".encode()


def test_code_is_here_if_the_manifest_or_the_folder_has_it() -> None:
    in_folder = {"own:Own": "sha of the folder"}.get
    one, two = (spec_of({"own.py": word}) for word in ("1", "2"))
    digests = {code_of(one, in_folder), code_of(two, in_folder)}
    assert len(digests) == 2 and not digests & {None, "sha of the folder"}
    elsewhere = spec_of({"helper.py": ""})
    assert code_of(elsewhere, in_folder) == "sha of the folder"
    assert code_of(spec_of({"helper.py": ""}, "gone:Own"), in_folder) is None
    assert code_of(spec_of({"a/b.py": ""}, "a.b:Own"), in_folder)
    assert code_of({"source": {}}, in_folder) is None


def test_rooms_of_a_killed_worker_are_cleared(tmp_path: Path) -> None:
    clear_rooms(tmp_path / "none")
    one, other = make_room(tmp_path, "m"), make_room(tmp_path, "m")
    (one / "code").mkdir()
    assert one != other
    clear_rooms(tmp_path)
    assert list(tmp_path.iterdir()) == []
