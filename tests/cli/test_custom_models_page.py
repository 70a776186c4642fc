"""docs/custom-models.md works by copy and paste: its code, manifests and commands are run."""

import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from tests.cli.installation import Ran, Up, run_command, started
from tests.cli.test_upload import caption
from tests.conftest import ROOT, eventually
from tests.worker.engines import engine_of, order_for, plain

from captionfleet.client import Client
from captionfleet.resources import parse_manifest
from captionfleet_cli.trial.command import test as try_model
from captionfleet_worker.engine_process import Shot

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

PAGE = (ROOT / "docs" / "custom-models.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
[CODE] = [text for kind, text in BLOCKS if kind == "python"]
POOL, MANIFEST = [text for kind, text in BLOCKS if kind == "yaml"]
[REPORT] = [text for _, text in BLOCKS if " ok " in text]
COMMANDS = re.findall(r"^captionfleet (.*)$", "".join(t for k, t in BLOCKS if not k), re.MULTILINE)
[COMMAND] = [each.removesuffix(" > mood.yaml") for each in COMMANDS if "> mood.yaml" in each]
[ALONE] = [each.partition(" | ")[0] for each in COMMANDS if "--with-code" in each]
[APPLY] = [each for each in COMMANDS if each.startswith("apply ")]
[UPLOAD] = [each for each in COMMANDS if each.startswith("upload ")]


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "custom_infer" / "mood.py"
    file.parent.mkdir()
    file.write_text(CODE)
    return file.relative_to(tmp_path)


def without_numbers(text: str) -> list[str]:
    """Times and sizes differ from machine to machine."""
    text = re.sub(r": (\d+\.\d times as fast|a batch saves no time)", "", text)
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
    _, file, option, kwarg = shlex.split(COMMAND)
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


async def printed(command: str, home: Path) -> str:
    """What a command of the page prints, run where the page says."""
    ran: Ran = await run_command(*shlex.split(command), home=home)
    assert ran.code == 0, ran.err
    return ran.out


@pytest.fixture(scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    """`captionfleet up .` as the page has it: a pool, and the class in custom_infer."""
    assert "up ." in COMMANDS
    here = tmp_path_factory.mktemp("mood")
    (here / "custom_infer").mkdir()
    (here / "custom_infer" / "mood.py").write_text(CODE)
    (here / "pool.yaml").write_text(POOL)
    async with started(here, here) as running:
        yield running


async def said(client: Client, model: str) -> str:
    """Of a picture on white."""
    return (await caption(client, model)).partition(",")[0]


async def is_offered(client: Client, model: str) -> bool:
    return model in [each["metadata"]["name"] for each in await client.manifests("models")]


async def test_the_file_alone_then_its_manifest_then_an_upload_caption(up: Up) -> None:
    async with Client(up.url) as client:
        assert await said(client, "mood") == "a picture"
        (up.folder / "mood.yaml").write_text(await printed(COMMAND, up.home))
        applied = await up.run(*shlex.split(APPLY))
        assert applied.code == 0, applied.err
        assert await said(client, "mood") == "what I see"
        uploaded = await up.run(*shlex.split(UPLOAD))
        assert uploaded.out.startswith("captionmodel/mood-uploaded is version 1"), uploaded.err
        assert await said(client, "mood-uploaded") == "what I see"


async def test_a_manifest_from_elsewhere_takes_the_place_of_the_file(
    up: Up, tmp_path: Path
) -> None:
    (up.folder / "custom_infer" / "gloom.py").write_text(CODE)
    manifest = yaml.safe_load(MANIFEST)
    manifest["metadata"]["name"] = "gloom"
    manifest["spec"]["custom"]["entrypoint"] = "gloom:Mood"
    (tmp_path / "gloom.yaml").write_text(yaml.safe_dump(manifest))
    async with Client(up.url) as client:
        await eventually(lambda: is_offered(client, "gloom"), what="the saved file is noticed")
        assert await said(client, "gloom") == "a picture"
        applied = await up.run("apply", "-f", str(tmp_path / "gloom.yaml"))
        assert applied.out == "captionmodel/gloom configured\n", applied.err
        assert await said(client, "gloom") == "what I see"


async def test_the_manifest_with_its_code_captions_where_nobody_has_the_file(
    saved: Path, tmp_path: Path
) -> None:
    manifest = yaml.safe_load(await printed(ALONE, tmp_path))
    [file] = manifest["spec"]["custom"]["files"]
    assert file == {"path": "mood.py", "content": CODE}
    parse_manifest(manifest)
    elsewhere = tmp_path / "elsewhere"
    async with engine_of(order_for(manifest["spec"], elsewhere)) as engine:
        [answer] = await engine.run([Shot(plain("red"), "")], {})
    assert answer.text == "a picture, dark and mostly red"
