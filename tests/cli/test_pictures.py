"""Which files are sent, and under which names."""

import hashlib
from pathlib import Path

import pytest

from captionfleet_cli.submit.pictures import (
    check_paths,
    default_name,
    file_sha256,
    find_pictures,
    left_out,
)
from captionfleet_cli.trouble import Trouble


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.PNG", "a.jpg", "a.txt", ".hidden.jpg", "sub/c.webp", ".git/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_a_folder_is_walked_in_a_fixed_order(folder: Path) -> None:
    found = [picture.filename for picture in find_pictures([folder])]
    assert found == ["a.jpg", "b.PNG", "sub/c.webp"]


def test_a_named_file_is_sent_whatever_it_is_called(folder: Path) -> None:
    odd = folder / "scan.0001"
    odd.write_bytes(b"?")
    assert [picture.path for picture in find_pictures([odd])] == [odd]


def test_texts_beside_pictures_are_left_out_and_named(folder: Path) -> None:
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    assert "a.txt" not in [picture.filename for picture in find_pictures(paths)]
    assert left_out(paths) == ["a.txt"]


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match=r"no file or folder .*nowhere"):
        check_paths([tmp_path / "nowhere"])


def test_a_job_is_named_after_the_folder_of_its_pictures(folder: Path) -> None:
    assert default_name([folder]) == folder.name
    assert default_name([folder / "a.jpg", folder / "b.PNG"]) == folder.name
    assert default_name([folder / "a.jpg", folder / "sub"]) == f"{folder.name}, sub"


def test_the_sha256_of_a_file_is_that_of_its_bytes(folder: Path) -> None:
    assert file_sha256(folder / "a.jpg") == hashlib.sha256(b"a.jpg").hexdigest()
