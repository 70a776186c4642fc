"""`captionfleet test`: the contract of a custom model is proved here, and told line by line."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import SHAPES

from captionfleet.resources import ModelManifest, parse_manifest
from captionfleet_cli.apply import read
from captionfleet_cli.trial.command import test as try_model
from captionfleet_cli.trouble import Exit, Trouble

pytestmark = pytest.mark.services  # engines are processes

MODEL = """
from captionfleet import CustomModel


class Corner(CustomModel):
    def load(self):
        self.calls = 0

    def infer(self, image, prompt):
        return f"{prompt} #%02x%02x%02x corner" % image.getpixel((0, 0))

    def unload(self):
        pass
"""
RETURN = 'return f"{prompt} #%02x%02x%02x corner" % image.getpixel((0, 0))'


@dataclass
class Ran:
    """One finished trial."""

    report: str
    manifest: dict[str, Any]
    trouble: Trouble | None

    def line(self, name: str) -> str:
        """What the report says of one check, its remedy included."""
        found = [
            "\n".join(self.report.splitlines()[place : place + 2])
            for place, line in enumerate(self.report.splitlines())
            if line.split()[:1] == [name]
        ]
        assert len(found) == 1, self.report
        return found[0]


class Trying:
    """Runs trials of one file in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = folder / "corner.py"
        self._capsys = capsys

    def __call__(self, code: str, *pictures: Path, **options: Any) -> Ran:
        self.file.write_text(code)
        trouble = None
        try:
            try_model(self.file, list(pictures), **options)
        except Trouble as error:
            trouble = error
        captured = self._capsys.readouterr()
        return Ran(captured.err, yaml.safe_load(captured.out or "{}"), trouble)


@pytest.fixture
def tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Trying:
    return Trying(tmp_path, capsys)


def test_a_good_model_passes_every_check_and_gets_a_manifest(tried: Trying) -> None:
    ran = tried(MODEL, prompt="the")
    assert ran.trouble is None and " failed " not in ran.report
    for name in ("code", "load", "single", "determinism", "batch", "timing", "unload"):
        assert f"  {name:<12} ok" in ran.report
    assert "a drawn picture: the #ffffff corner" in ran.report
    assert "8 pictures in one go, each as when alone" in ran.line("batch")


def test_the_manifest_is_one_that_apply_takes(
    tried: Trying, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = MODEL.replace("    def load", "    def __init__(self, style): pass\n\n    def load")
    ran = tried(code, kwarg=["style=terse"], weights=SHAPES / "models" / "shapes-basic", batch=4)
    file = tmp_path / "model.yaml"
    file.write_text(yaml.safe_dump(ran.manifest))
    [document] = read(str(file))
    manifest = parse_manifest(document)
    assert isinstance(manifest, ModelManifest) and manifest.name == "corner"
    custom, spec = manifest.spec.custom, manifest.spec
    assert custom and (custom.entrypoint, custom.kwargs) == ("corner:Corner", {"style": "terse"})
    assert spec.source and spec.source.volume and spec.source.volume.path.endswith("shapes-basic")
    assert spec.batching.max_batch_size == 4
    assert 20e6 < (spec.requirements.bytes_on("CPU") or 0) < 500e6


def test_code_that_shall_go_with_its_manifest_is_tried_without_what_lies_beside_it(
    tried: Trying,
) -> None:
    (tried.file.parent / "words.py").write_text("SAID = 'helped'\n")
    code = "import words\n" + MODEL.replace(RETURN, "return words.SAID")
    assert tried(code).manifest
    ran = tried(code, with_code=True)
    assert "No module named 'words' (corner.py, line 1" in ran.line("load") and not ran.manifest


def test_own_pictures_are_captioned_by_name(tried: Trying) -> None:
    code = MODEL.replace(RETURN, "return f'{image.width} wide'")
    ran = tried(code, SHAPES / "pictures" / "shapes-01.png")
    assert "shapes-01.png: 256 wide" in ran.report


def test_an_error_in_load_names_file_and_line_and_shows_what_was_printed(tried: Trying) -> None:
    ran = tried(MODEL.replace("self.calls = 0", "print('so far'); self.calls = nothing"))
    assert "NameError" in ran.line("load") and "corner.py, line 7, in load" in ran.line("load")
    assert ran.trouble and "load failed" in str(ran.trouble) and not ran.manifest
    assert "so far" in ran.report


def test_an_error_in_infer_names_file_and_line(tried: Trying) -> None:
    ran = tried(MODEL.replace(RETURN, "return 1 / 0"))
    assert "4 of 4 got no caption" in ran.line("single")
    assert "corner.py, line 10, in infer" in ran.line("single")
    assert ran.trouble and "batch" not in ran.report


def test_a_batch_that_mixes_up_its_pictures_is_found_out(tried: Trying) -> None:
    code = MODEL + (
        "\n    def infer_batch(self, images, prompts, options):\n"
        "        return [self.infer(i, p) for i, p in zip(images, prompts)][::-1]\n"
    )
    ran = tried(code)
    assert "differ from the same picture alone" in ran.line("batch")
    assert "keep the order" in ran.line("batch") and ran.trouble


def test_a_batch_of_the_wrong_count_is_found_out(tried: Trying) -> None:
    ran = tried(MODEL + "\n    def infer_batch(self, i, p, o): return ['one'] * min(len(i), 3)\n")
    told = "infer_batch() returned 3 captions for 8 picture(s) (corner.py, line 15, in infer_batch)"
    assert told in ran.line("batch")
    assert "which is slower" in ran.line("batch") and ran.trouble


def test_captions_by_chance_are_said_to_be_so(tried: Trying) -> None:
    sampled = "self.calls += 1; return f'caption {self.calls}'"
    ran = tried(MODEL.replace(RETURN, sampled))
    assert "note" in ran.line("determinism") and "it samples" in ran.line("determinism")
    assert "not compared" in ran.line("batch") and ran.manifest


def test_memory_that_unload_keeps_is_told_and_no_failure(tried: Trying) -> None:
    ran = tried(MODEL.replace("self.calls = 0", "self.calls = bytearray(b'x' * 400_000_000)"))
    assert "note" in ran.line("unload") and "self.model = None" in ran.line("unload")
    assert ran.manifest
    freed = tried(
        MODEL.replace("self.calls = 0", "self.calls = bytearray(b'x' * 400_000_000)").replace(
            "        pass\n", "        self.calls = None\n"
        )
    )
    assert f"  {'unload':<12} ok" in freed.report


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import os; os.abort()", "ended the process"),
        ("import time; time.sleep(99)", "took longer than a worker waits"),
    ],
)
def test_an_unload_that_fails_is_told_with_its_line(body: str, told: str, tried: Trying) -> None:
    ran = tried(MODEL.replace("        pass\n", f"        {body}\n"))
    assert "failed" in ran.line("unload") and told in ran.line("unload") and ran.trouble
    assert "corner.py, line 13, in unload" in ran.line("unload")


def test_a_crash_and_an_endless_loop_end_the_trial_in_words(tried: Trying) -> None:
    crashed = tried(MODEL.replace(RETURN, "import os; os.abort()"))
    assert "SIGABRT, in corner.py, line 10, in infer" in crashed.line("running")
    looped = tried(MODEL.replace(RETURN, "\n        while True: pass"), timeout=1)
    assert "it was in corner.py, line 11, in infer" in looped.line("running")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("x = 1", "class MyModel(CustomModel)"),
        ("x = 1\ny =", "corner.py, line 2: not valid Python"),
        (MODEL.replace("def infer", "def inferr"), "has no infer()"),
        (MODEL + MODEL.replace("Corner", "Other"), "several classes"),
    ],
)
def test_what_can_be_told_by_reading_is_told_before_anything_runs(
    code: str, told: str, tried: Trying
) -> None:
    ran = tried(code)
    assert told in ran.line("code") and ran.trouble and "load " not in ran.line("code")


def test_one_of_several_classes_is_named(tried: Trying) -> None:
    code = MODEL + MODEL.replace("Corner", "Other").replace("corner", "place")
    ran = tried(code, entrypoint="Other")
    assert ran.manifest["spec"]["custom"]["entrypoint"] == "corner:Other"


def test_the_whole_report_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "corner.py"
    file.write_text(MODEL)
    try_model(file, as_json=True)
    captured = capsys.readouterr()
    said = json.loads(captured.out)
    assert said["ready"] and said["manifest"]["metadata"]["name"] == "corner"
    assert [check["result"] for check in said["checks"]] == ["ok"] * 7
    assert len(said["captions"]) == 4 and captured.err == ""


def test_a_missing_file_and_a_wrong_argument_are_told(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="there is no file") as missing:
        try_model(tmp_path / "no.py")
    (tmp_path / "corner.py").write_text(MODEL)
    with pytest.raises(Trouble, match="NAME=VALUE") as wrong:
        try_model(tmp_path / "corner.py", kwarg=["style"])
    assert missing.value.code == wrong.value.code == Exit.USAGE
