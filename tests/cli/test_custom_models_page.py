"""docs/custom-models.md works by copy and paste: its code, its report and its manifest are run."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from tests.conftest import ROOT
from tests.worker.engines import engine_of, order_for, plain

from captionfleet.resources import parse_manifest
from captionfleet_cli.trial.command import test as try_model
from captionfleet_worker.engine_process import Shot

pytestmark = pytest.mark.services  # engines are processes

PAGE = (ROOT / "docs" / "custom-models.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
[CODE] = [text for kind, text in BLOCKS if kind == "python"]
[MANIFEST] = [text for kind, text in BLOCKS if kind == "yaml"]
[REPORT] = [text for _, text in BLOCKS if " ok " in text]
[COMMAND] = re.findall(r"^captionfleet test (.*) > mood\.yaml$", PAGE, re.MULTILINE)


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "custom_infer" / "mood.py"
    file.parent.mkdir()
    file.write_text(CODE)
    return file.relative_to(tmp_path)


def without_numbers(text: str) -> list[str]:
    """Times and sizes differ from machine to machine."""
    text = re.sub(r": (\d\.\d times as fast|a batch saves no time)", "", text)
    return re.sub(r"\d+(\.\d+)? (s|MB)\b", "N", text).splitlines()


def test_the_example_has_twenty_lines_at_most() -> None:
    assert len(CODE.splitlines()) <= 20


def test_the_report_is_what_the_command_prints(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try_model(saved)
    printed = without_numbers(capsys.readouterr().err)
    assert printed == without_numbers(REPORT)


def test_the_manifest_is_what_the_command_prints_and_is_accepted(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, option, kwarg = shlex.split(COMMAND)
    assert (Path(file), option) == (saved, "--kwarg")
    try_model(saved, kwarg=[kwarg])
    printed = yaml.safe_load(capsys.readouterr().out)
    written = yaml.safe_load(MANIFEST)
    parse_manifest(written)
    for each in (printed, written):
        assert each["spec"].pop("requirements")["memory"].endswith("Mi")
    assert printed == written


async def test_the_model_captions_in_an_engine_of_a_worker(saved: Path) -> None:
    spec = yaml.safe_load(MANIFEST)["spec"]
    async with engine_of(order_for(spec, saved.parent.resolve())) as engine:
        answers = await engine.run([Shot(plain("red"), ""), Shot(plain("navy"), "the sea")], {})
    said = [answer.text for answer in answers]
    assert said == ["what I see, dark and mostly red", "the sea, dark and mostly blue"]
