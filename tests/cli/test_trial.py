"""`captionfleet test`: a custom model is proved here, and its error names the line."""

from pathlib import Path

import pytest
from tests.conftest import SHAPES

from captionfleet_cli.trial import test as try_model
from captionfleet_cli.trouble import Trouble

MODEL = """
from captionfleet import CustomModel


class Corner(CustomModel):
    def load(self):
        self.names = {(255, 255, 255): "white"}

    def infer(self, image, prompt):
        return f"{prompt} {self.names[image.getpixel((0, 0))]} corner"
"""


def written(folder: Path, code: str) -> Path:
    file = folder / "corner.py"
    file.write_text(code)
    return file


def test_a_drawn_picture_is_captioned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try_model(written(tmp_path, MODEL), prompt="the")
    assert "a drawn picture: the white corner" in capsys.readouterr().out


def test_own_pictures_are_captioned_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = MODEL.replace("self.names[image.getpixel((0, 0))]", "image.width")
    try_model(written(tmp_path, code), [SHAPES / "pictures" / "shapes-01.png"], prompt="")
    assert "shapes-01.png: 256 corner" in capsys.readouterr().out


def test_an_error_in_load_names_file_and_line(tmp_path: Path) -> None:
    code = MODEL.replace('self.names = {(255, 255, 255): "white"}', "self.names = nothing")
    with pytest.raises(Trouble, match=r"corner\.py.*line 7") as caught:
        try_model(written(tmp_path, code))
    assert "nothing" in str(caught.value)


def test_an_error_in_infer_names_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = MODEL.replace("self.names[image.getpixel((0, 0))]", "1 / (prompt != 'break')")
    with pytest.raises(Trouble):
        try_model(written(tmp_path, code), prompt="break")
    assert "line 10" in capsys.readouterr().out


def test_a_file_without_a_class_is_told_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="class Mine"):
        try_model(written(tmp_path, "x = 1"))


def test_a_file_that_is_no_python_is_told_where(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match=r"corner\.py: not valid Python.*line 2"):
        try_model(written(tmp_path, "x = 1\ny ="))
