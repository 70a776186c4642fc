"""Captioning code is judged by reading: what is refused says file, line, field and remedy."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captionfleet.code_check import Argument, Checked, check_code
from captionfleet.resources.model import CustomFile

GOOD = """
from captionfleet import CustomModel

class Mine(CustomModel):
    def __init__(self, style="plain", *, size="1"):
        self.style = style

    def load(self):
        pass

    def infer(self, image):
        return self.style
"""


def check(code: str, entrypoint: str = "", path: str = "mine.py", **kwargs: str) -> Checked:
    return check_code([CustomFile(path=path, content=code)], entrypoint, kwargs)


def only(checked: Checked) -> str:
    [problem] = checked.problems
    return str(problem)


def test_a_class_that_extends_custom_model_is_found() -> None:
    arguments = (Argument("style", "plain"), Argument("size", "1"))
    assert check(GOOD) == Checked("mine:Mine", (), arguments)
    assert check(GOOD, "mine:Mine", style="terse", size="2").problems == ()


def test_a_class_of_the_original_needs_no_base() -> None:
    assert check(GOOD.replace("(CustomModel)", "")).entrypoint == "mine:Mine"


def test_nothing_is_imported_or_run() -> None:
    check(GOOD + "import antigravity_of_nobody\nraise SystemExit(1)\n")
    assert "mine" not in sys.modules


def test_a_crowd_of_classes_is_refused_before_it_keeps_the_server_busy() -> None:
    heirs = "".join(f"class A{n}(A{n - 1}): ...\n" for n in range(1, 2000))
    assert only(check("class A0: ...\n" + heirs)).startswith(
        "files: 2000 classes: send at most 300"
    )


def test_a_mistake_names_file_and_line() -> None:
    told = only(check("class Mine:\n    def load(self)\n        pass\n"))
    assert told.startswith("mine.py, line 2: not valid Python: expected ':'")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("x = 1", "files: no class extends CustomModel"),
        ("class A:\n  pass", "mine.py, line 1: no class extends CustomModel"),
        (GOOD.replace("def load", "def lod"), "mine.py, line 4: class Mine has no load()"),
        (GOOD.replace("def infer(self, image)", "def infer(self)"), "line 11: infer() takes no"),
        (GOOD.replace("def load", "async def load"), "line 8: load() is async"),
        (GOOD + GOOD.replace("Mine", "Yours"), "name one as entrypoint: mine:Mine, mine:Yours"),
        ("x = " + "-" * 90_000 + "1", "nested too deeply"),
        ("x = '\0'", "not valid Python"),
        ("# " + "é" * 60_000 + "\n" + GOOD, "above the limit of 100,000"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_model_is_refused(code: str, sentence: str) -> None:
    assert sentence in only(check(code))


@pytest.mark.parametrize(
    "path", ["json.py", "torch.py", "PIL.py", "captionfleet.py", "pydantic.py"]
)
def test_a_file_may_not_hide_an_installed_module(path: str) -> None:
    assert "is the name of an installed Python module" in only(check(GOOD, path=path))


@pytest.mark.parametrize("path", ["a-b.py", "class.py", "a/b.py", "mine.txt", "../mine.py", ".py"])
def test_a_file_needs_the_name_of_a_module(path: str) -> None:
    assert only(check(GOOD, path=path)).startswith(path)


@pytest.mark.parametrize("entrypoint", ["mine", "mine:Other", "other:Mine", "mine.Mine"])
def test_an_entrypoint_that_is_not_there_is_refused(entrypoint: str) -> None:
    assert only(check(GOOD, entrypoint)).startswith("entrypoint: ")


def test_keyword_arguments_must_be_those_of_the_class() -> None:
    assert only(check(GOOD, colour="red")).startswith(
        "kwargs.colour: Mine.__init__ takes no colour; it takes style, size"
    )
    needs = GOOD.replace('style="plain"', "style")
    assert "__init__ needs style" in only(check(needs))
    assert check(needs, style="terse").problems == ()
    bare = (
        "\n".join(line for line in GOOD.splitlines() if "style" not in line) + "\n        return ''"
    )
    assert "has no __init__ that takes it" in only(check(bare, style="terse"))


def test_a_base_class_may_stand_in_another_file() -> None:
    base = CustomFile(path="base.py", content=GOOD)
    child = CustomFile(path="child.py", content="from base import Mine\nclass Child(Mine): ...")
    checked = check_code([base, child], "", {"size": "3"})
    assert (checked.entrypoint, checked.problems) == ("child:Child", ())


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    import fast\nexcept ImportError:\n    fast = None\nelse:\n    pass\n" + GOOD,
        "if True:\n" + "\n".join(f"    {line}" for line in GOOD.splitlines()),
        "try:\n    import fast\nexcept ImportError:"
        + "\n".join(f"    {line}" for line in GOOD.splitlines()),
        GOOD.replace("def infer", "def caption") + "\n    infer = caption\n",
        "@decorated\nclass Mine:\n  style: str\n  def load(self): ...\n  def infer(self, i): ...\n",
        GOOD.replace('"plain"', "-" * 1500 + "1"),
    ],
)
def test_code_may_be_written_in_other_ways(code: str) -> None:
    kwargs = {"style": "terse"}
    assert check(code, **kwargs).problems == check(code, "mine:Mine", **kwargs).problems == ()


@given(st.text() | st.text(alphabet="class Mine:(self)=\n \t#@x\"'\\\0"))
def test_any_text_is_judged_and_nothing_fails(code: str) -> None:
    assert check(code).problems


def test_a_class_may_have_the_name_of_what_it_extends() -> None:
    code = "import vision\nclass Mine(vision.Mine):\n    pass\n"
    assert check(code, "mine:Mine") == Checked("mine:Mine")
    assert check(GOOD.replace("(CustomModel)", "(Mine, CustomModel)")).entrypoint == "mine:Mine"


def test_what_a_package_brings_is_not_judged() -> None:
    code = "from vision import Base\nclass Mine(Base):\n    pass\n"
    assert check(code, "mine:Mine", anything="x") == Checked("mine:Mine", ())


def test_the_limits_hold_for_all_files_together() -> None:
    files = [CustomFile(path=f"m{n}.py", content="#" * 60_000) for n in range(9)]
    assert "540,000 bytes together" in str(check_code(files).problems[0])
    many = [CustomFile(path=f"m{n}.py", content="") for n in range(11)]
    assert "send at most 10" in str(check_code(many).problems[0])
    assert "no file was given" in str(check_code([]).problems[0])
    twice = [CustomFile(path="mine.py", content=GOOD)] * 2
    assert "two files have the same name" in str(check_code(twice).problems[0])
