"""A person's own class in an engine: what it may do, and how its mistakes are told."""

import asyncio
import shutil
from pathlib import Path

import pytest
from tests.conftest import SHAPES, eventually
from tests.worker.engines import custom_spec, engine_of, normalized, order_for, plain, shapes_spec

from captionfleet.catalog.custom_folder import offered_models
from captionfleet.code_check import check_code
from captionfleet.resources.model import CustomFile
from captionfleet_worker.engine_process import (
    EngineDied,
    EngineProcess,
    EngineTimeout,
    LoadFailed,
    Shot,
)

pytestmark = pytest.mark.services  # engines and programs are processes

HEAD = "from captionfleet import CustomModel\nclass Own(CustomModel):\n    def load(self): pass\n"


async def refused(spec: dict[str, object], place: Path) -> LoadFailed:
    """Why this order cannot be carried out."""
    with pytest.raises(LoadFailed) as failed:
        await EngineProcess.start(order_for(spec, place), lambda sentence: None)
    return failed.value


async def test_the_worked_example_names_the_colors_of_a_picture(tmp_path: Path) -> None:
    shutil.copy(SHAPES / "custom_infer" / "colors.py", tmp_path)
    order = order_for({"custom": {"entrypoint": "colors:Colors"}}, tmp_path)
    async with engine_of(order) as engine:
        [answer] = await engine.run([Shot(normalized("shapes-04.png"), "")], {})
    assert answer.text == "mostly white with red and blue"


async def test_a_class_gets_prompt_options_arguments_device_and_helpers(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def joined(*words): return ' '.join(map(str, words))")
    code = (
        "from captionfleet import CustomModel\nfrom helper import joined\n"
        "class Own(CustomModel):\n"
        "    def __init__(self, style): self.style = style\n"
        "    def load(self): self.where = self.device\n"
        "    def infer(self, image, prompt, options):\n"
        "        return joined(self.style, self.where, self.weights.name, image.size, prompt,"
        " options['max_new_tokens'])\n"
    )
    spec = custom_spec(tmp_path, code, source=shapes_spec("shapes-basic")["source"])
    spec["custom"]["kwargs"] = {"style": "terse"}
    async with engine_of(order_for(spec, tmp_path)) as engine:
        [answer] = await engine.run([Shot(plain(), "why?")], {"max_new_tokens": 5})
    assert answer.text == "terse cpu shapes-basic (32, 32) why? 5"


async def test_a_class_that_extends_nothing_of_ours_runs_too(tmp_path: Path) -> None:
    code = "class Own:\n    def load(self): pass\n    def infer(self, image): return 'seen'\n"
    async with engine_of(order_for(custom_spec(tmp_path, code), tmp_path)) as engine:
        answers = await engine.run([Shot(plain(), ""), Shot(plain(), "")], {})
    assert [answer.text for answer in answers] == ["seen", "seen"]


ORIGINAL = """
from custom_infer.base import CustomModel
from PIL import Image


class Seen(CustomModel):
    def __init__(self):
        self.model = None

    def load(self) -> None:
        self.model = "saw"

    def infer(self, image: Image) -> str:
        return f"{self.model} {image.mode} {image.size}"
"""
ORIGINAL_BASE = """
from abc import ABC, abstractmethod

class CustomModel(ABC):
    @abstractmethod
    def load(self): pass

    @abstractmethod
    def infer(self, image): pass
"""


@pytest.mark.parametrize("base", [None, ORIGINAL_BASE], ids=["without base.py", "with base.py"])
async def test_a_class_written_for_the_original_system_runs_unchanged(
    base: str | None, tmp_path: Path
) -> None:
    """There it imports its base from custom_infer/base.py, which people may bring along."""
    if base:
        (tmp_path / "base.py").write_text(base)
    (tmp_path / "seen.py").write_text(ORIGINAL)
    [(model, _)] = offered_models(tmp_path, [])
    assert model.name == "seen"
    async with engine_of(order_for(model.spec.as_manifest(), tmp_path)) as engine:
        answers = await engine.run([Shot(plain(), ""), Shot(plain(), "why?")], {})
    assert [answer.text for answer in answers] == ["saw RGB (32, 32)"] * 2


async def test_a_class_of_the_original_system_may_be_uploaded(tmp_path: Path) -> None:
    file = CustomFile(path="seen.py", content=ORIGINAL)
    checked = check_code([file])
    assert checked.entrypoint == "seen:Seen" and not checked.problems
    spec = {"custom": {"entrypoint": checked.entrypoint, "files": [file.as_manifest()]}}
    async with engine_of(order_for(spec, tmp_path)) as engine:
        [answer] = await engine.run([Shot(plain(), "")], {})
    assert answer.text == "saw RGB (32, 32)"


async def test_an_exception_fails_its_picture_alone_and_names_the_line(tmp_path: Path) -> None:
    code = HEAD + (
        "    def infer(self, image):\n"
        "        if image.getpixel((0, 0))[2] > 200:\n"
        "            raise ValueError('no blue please')\n"
        "        return 'fine'\n"
    )
    async with engine_of(order_for(custom_spec(tmp_path, code), tmp_path)) as engine:
        shots = [Shot(plain("red"), ""), Shot(plain("blue"), ""), Shot(plain("green"), "")]
        red, blue, green = await engine.run(shots, {})
    assert (red.text, green.text) == ("fine", "fine")
    assert blue.error_code == "model_error"
    assert blue.error_message == "ValueError: no blue please (own.py, line 6, in infer)"


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("def infer(self, image): return 7", "bad_result",
         "a caption must be str, but infer() returned int (own.py, line 4, in infer)"),
        ("def infer(self, image): pass", "bad_result",
         "a caption must be str, but infer() returned NoneType (own.py, line 4, in infer)"),
        ("def infer(self, image): return '  '", "empty_caption", "empty caption"),
        ("def infer(self, image): return 'x' * 10**6", "bad_result", "1000000 characters"),
        ("def infer(self, image): raise MemoryError", "out_of_memory", "batch of one"),
    ],
)  # fmt: skip
async def test_what_is_no_caption_is_told(
    body: str, code: str, message: str, tmp_path: Path
) -> None:
    spec = custom_spec(tmp_path, f"{HEAD}    {body}\n")
    async with engine_of(order_for(spec, tmp_path)) as engine:
        [answer] = await engine.run([Shot(plain(), "")], {})
    assert answer.error_code == code and message in (answer.error_message or "")


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("['one'] * (len(i) + 1)", "infer_batch() returned 2 captions for 1 picture(s)"),
        ("'one'", "infer_batch() must return a list of str, but returned str"),
        ("[1] * len(i)", "a caption must be str, but infer_batch() returned a list with int"),
    ],
)
async def test_a_batch_of_the_wrong_shape_is_told_with_its_place(
    returned: str, told: str, tmp_path: Path
) -> None:
    body = f"    infer = None\n    def infer_batch(self, i, p, o): return {returned}\n"
    async with engine_of(order_for(custom_spec(tmp_path, HEAD + body), tmp_path)) as engine:
        answers = await engine.run([Shot(plain(), ""), Shot(plain(), "")], {})
    assert [answer.error_code for answer in answers] == ["bad_result", "bad_result"]
    assert answers[0].error_message == f"{told} (own.py, line 5, in infer_batch)"


async def test_a_class_may_choose_how_it_takes_batches_when_it_loads(tmp_path: Path) -> None:
    code = (
        "class Own:\n    def load(self): self.infer_batch = self.together\n"
        "    def together(self, i, p, o): return [f'{len(i)} at once'] * len(i)\n"
        "    def infer(self, image): return 'alone'\n"
    )
    async with engine_of(order_for(custom_spec(tmp_path, code), tmp_path)) as engine:
        answers = await engine.run([Shot(plain(), ""), Shot(plain("red"), "")], {})
    assert [answer.text for answer in answers] == ["2 at once"] * 2


async def test_code_that_kills_its_process_is_told_as_a_death(tmp_path: Path) -> None:
    code = f"import os\n{HEAD}    def infer(self, image): os.abort()\n"
    async with engine_of(order_for(custom_spec(tmp_path, code), tmp_path)) as engine:
        with pytest.raises(EngineDied, match="SIGABRT"):
            await engine.run([Shot(plain(), "")], {})
        assert not engine.alive
        with pytest.raises(EngineDied):
            await engine.run([Shot(plain(), "")], {})
    assert "Fatal Python error" in (tmp_path / "logs" / "m.log").read_text()


async def test_code_that_never_returns_is_killed_with_all_it_started(tmp_path: Path) -> None:
    code = (
        f"import subprocess, time, pathlib\n{HEAD}    def infer(self, image):\n"
        "        child = subprocess.Popen(['sleep', '1000'])\n"
        f"        pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))\n"
        "        time.sleep(1000)\n"
    )
    spec = custom_spec(tmp_path, code, inference={"timeoutSeconds": 1})
    async with engine_of(order_for(spec, tmp_path)) as engine:
        with pytest.raises(EngineTimeout, match="timeoutSeconds"):
            await engine.run([Shot(plain(), "")], {})
        assert not engine.alive
    grandchild = Path("/proc") / (tmp_path / "pid").read_text()
    await eventually(lambda: not grandchild.exists() or _ended(grandchild))


def _ended(process: Path) -> bool:
    return "State:\tZ" in (process / "status").read_text()


async def test_a_hanging_load_ends_in_time(tmp_path: Path) -> None:
    code = f"import time\n{HEAD.replace('pass', 'time.sleep(1000)')}    def infer(self, i): pass\n"
    failed = await refused(
        custom_spec(tmp_path, code, acceptance={"timeoutSeconds": 2, "smokeTest": False}), tmp_path
    )
    assert (failed.reason, failed.retriable) == ("LoadTimeout", True)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def Own(:\n", "SyntaxError: invalid syntax (own.py, line 1)"),
        ("import nothing_of_that_name\n", "No module named 'nothing_of_that_name' (own.py, line 1"),
        ("x = 1\n", "own.py has no class Own"),
        (HEAD, "Can't instantiate abstract class Own"),
        (HEAD.replace("pass", "1 / 0") + "    def infer(self, i): pass\n",
         "ZeroDivisionError: division by zero (own.py, line 3, in load)"),
    ],
)  # fmt: skip
async def test_a_mistake_in_the_code_is_told_with_its_place(
    code: str, message: str, tmp_path: Path
) -> None:
    failed = await refused(custom_spec(tmp_path, code), tmp_path)
    assert failed.reason == "CodeError" and message in failed.message and not failed.retriable


async def test_a_missing_file_and_a_shadowing_name_are_told(tmp_path: Path) -> None:
    missing = await refused({"custom": {"entrypoint": "gone:Own"}}, tmp_path)
    assert missing.reason == "SourceNotFound" and "gone.py" in missing.message
    (tmp_path / "json.py").write_text(HEAD)
    shadowing = await refused({"custom": {"entrypoint": "json:Own"}}, tmp_path)
    assert shadowing.reason == "CodeError" and "rename it" in shadowing.message


async def test_own_code_beside_a_pipeline_tag_is_refused(tmp_path: Path) -> None:
    code = f"{HEAD}    def infer(self, image): return 'x'\n"
    failed = await refused(custom_spec(tmp_path, code, pipelineTag="image-to-text"), tmp_path)
    assert failed.reason == "InvalidSpec" and "spec.pipelineTag" in failed.message


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return ''", "empty caption"),
        ("raise KeyError('color')", "KeyError: 'color' (own.py, line 4, in infer)"),
    ],
)
async def test_a_copy_that_fails_its_smoke_test_is_not_used(
    body: str, told: str, tmp_path: Path
) -> None:
    code = f"{HEAD}    def infer(self, image): {body}\n"
    failed = await refused(custom_spec(tmp_path, code, acceptance={"smokeTest": True}), tmp_path)
    assert failed.reason == "SmokeTestFailed" and told in failed.message


async def test_the_revision_follows_the_code_and_its_helpers(tmp_path: Path) -> None:
    code = f"import helper\n{HEAD}    def infer(self, image): return helper.WORD\n"
    spec = custom_spec(tmp_path, code)
    revisions = []
    for word in ("one", "one", "another"):
        (tmp_path / "helper.py").write_text(f"WORD = {word!r}")
        async with engine_of(order_for(spec, tmp_path)) as engine:
            revisions.append(engine.loaded.revision)
    assert revisions[0] == revisions[1] != revisions[2]


async def test_unload_is_called_and_stop_may_be_repeated(tmp_path: Path) -> None:
    mark = tmp_path / "unloaded"
    code = f"import pathlib\n{HEAD}    def infer(self, image): return 'x'\n"
    code += f"    def unload(self): pathlib.Path({str(mark)!r}).touch()\n"
    engine = await EngineProcess.start(
        order_for(custom_spec(tmp_path, code), tmp_path), lambda sentence: None
    )
    await asyncio.gather(engine.stop(), engine.stop())
    await engine.stop()
    assert mark.exists() and not engine.alive


async def test_an_engine_short_of_memory_halves_its_batches_and_says_so(tmp_path: Path) -> None:
    code = """
from captionfleet import CustomModel
class Own(CustomModel):
    def load(self): pass
    def infer_batch(self, images, prompts, options):
        if len(images) > 2 or "never" in prompts: raise MemoryError("no room")
        return ["fits"] * len(images)
    def infer(self, image): ...
"""
    async with engine_of(order_for(custom_spec(tmp_path, code), tmp_path)) as engine:
        answers = await engine.run([Shot(plain(), "")] * 8, {})
        assert [answer.text for answer in answers] == ["fits"] * 8 and engine.batch_limit == 2
        alone, other = await engine.run([Shot(plain(), "never"), Shot(plain(), "")], {})
    assert (alone.error_code, other.text) == ("out_of_memory", "fits")
