"""Judges a person's captioning code by reading it: is it Python, and is there a class to run?

Nothing is imported or executed, here or wherever this is called. Code that passes may still fail
on a worker, which alone runs it.
"""

import ast
import keyword
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions

from captionfleet.code_reading import ClassRead, CodeRead, Function, NoPython
from captionfleet.resources.model import CustomFile

MOST_FILES = 10
LARGEST_FILE = 100_000
MOST_CLASSES = 300
LARGEST_UPLOAD = 500_000
"""Bytes of all files together: what comes of them must fit into one ConfigMap and one message."""

# What workers have installed, whatever is installed here.
_OF_WORKERS = frozenset(
    {
        "accelerate", "bitsandbytes", "captionfleet", "captionfleet_worker", "cv2",
        "huggingface_hub", "numpy", "PIL", "safetensors", "scipy", "sentencepiece", "timm",
        "tokenizers", "torch", "torchvision", "transformers",
    }
)  # fmt: skip
_NEEDED = ("load", "infer")


@dataclass(frozen=True)
class CodeProblem:
    """One reason to refuse, with its place and what to do."""

    message: str
    field: str
    """Field of the upload: `files`, `entrypoint`, `kwargs.NAME`."""
    file: str = ""
    line: int | None = None
    """From 1; None where no single line is to blame."""

    def __str__(self) -> str:
        place = self.file + (f", line {self.line}" if self.line else "")
        return f"{place}: {self.message}" if place else f"{self.field}: {self.message}"


@dataclass(frozen=True)
class Argument:
    """A keyword argument of the class, as far as it can be read."""

    name: str
    default: str | None
    """None if it has none, and must be given."""


@dataclass(frozen=True)
class Checked:
    """`entrypoint` is empty if none was found."""

    entrypoint: str
    problems: tuple[CodeProblem, ...] = ()
    arguments: tuple[Argument, ...] = ()


def check_code(
    files: Sequence[CustomFile], entrypoint: str = "", kwargs: Mapping[str, str] | None = None
) -> Checked:
    """Without an entrypoint the files must have one class that can be it."""
    code = CodeRead()
    told = list(_size_problems(files))
    for file in files:
        told += _name_problems(file.path)
        try:
            code.add(file)
        except NoPython as error:
            told.append(CodeProblem(error.why, "files", file.path, error.line))
    if (count := len(code.classes)) > MOST_CLASSES:
        many = f"{count} classes: send at most {MOST_CLASSES}, and remove those you do not need"
        told.append(CodeProblem(many, "files"))
    if told:
        return Checked(entrypoint, tuple(told))
    found, problems = _named(code, entrypoint) if entrypoint else _only(code)
    if found is None:
        return Checked(entrypoint, tuple(problems))
    problems = [*_method_problems(found, code), *_kwargs_problems(found, code, kwargs or {})]
    init = code.methods(found).get("__init__")
    return Checked(found.entrypoint, tuple(problems), tuple(_arguments(init[1])) if init else ())


# Files


def _size_problems(files: Sequence[CustomFile]) -> Iterator[CodeProblem]:
    if not files:
        yield CodeProblem("no file was given: send a .py file with your class", "files")
    if len(files) > MOST_FILES:
        told = f"{len(files)} files: send at most {MOST_FILES}, and merge some of them"
        yield CodeProblem(told, "files")
    sizes = {file.path: len(file.content.encode("utf-8", "surrogatepass")) for file in files}
    if len(sizes) < len(files):
        yield CodeProblem("two files have the same name: rename one of them", "files")
    for path, size in sizes.items():
        if size > LARGEST_FILE:
            told = f"{size:,} bytes, above the limit of {LARGEST_FILE:,}: move data out of the code"
            yield CodeProblem(told, "files", path)
    if (total := sum(sizes.values())) > LARGEST_UPLOAD:
        told = f"{total:,} bytes together, above the limit of {LARGEST_UPLOAD:,}: send less"
        yield CodeProblem(told, "files")


def _name_problems(path: str) -> Iterator[CodeProblem]:
    """A file is a module: its name must be one, and hide no installed one."""
    stem = path.removesuffix(".py")
    if not path.endswith(".py"):
        yield CodeProblem("only .py files are taken: rename it, or leave it out", "files", path)
    elif not stem.isidentifier() or not stem.isascii() or keyword.iskeyword(stem):
        told = (
            "its name is no module name: use letters, digits and _ alone, without folders, "
            "such as my_model.py"
        )
        yield CodeProblem(told, "files", path)
    elif stem in sys.stdlib_module_names or stem in _OF_WORKERS or stem in _installed():
        told = f"{stem} is the name of an installed Python module: rename the file"
        yield CodeProblem(told, "files", path)


@cache
def _installed() -> frozenset[str]:
    """Names alone, read from the packages' records; nothing is imported."""
    return frozenset(packages_distributions())


# Classes


def _named(code: CodeRead, entrypoint: str) -> tuple[ClassRead | None, Sequence[CodeProblem]]:
    module, _, name = entrypoint.partition(":")
    if not name:
        told = f"{entrypoint!r} is not module:Class: write it like my_model:MyModel"
        return None, [CodeProblem(told, "entrypoint")]
    if found := code.classes.get((module, name)):
        return found, ()
    known = ", ".join(each.entrypoint for each in code.classes.values()) or "none"
    told = f"there is no class {name} in {module}.py; the classes sent are {known}: name one"
    return None, [CodeProblem(told, "entrypoint")]


def _only(code: CodeRead) -> tuple[ClassRead | None, Sequence[CodeProblem]]:
    """The one class that can be it; those that others extend are not meant."""
    fitting = [each for each in code.classes.values() if _fits(each, code)]
    parents = {id(base) for each in fitting for base in code.extended_by(each)}
    leaves = [each for each in fitting if id(each) not in parents]
    if len(leaves) == 1:
        return leaves[0], ()
    if not leaves:
        return None, list(_nothing_found(code))
    names = ", ".join(each.entrypoint for each in leaves)
    told = f"several classes could be the model: name one as entrypoint: {names}"
    return None, [CodeProblem(told, "entrypoint")]


def _fits(found: ClassRead, code: CodeRead) -> bool:
    if found.name.startswith("_"):
        return False
    return code.extends_ours(found) or all(name in code.methods(found) for name in _NEEDED)


def _nothing_found(code: CodeRead) -> Iterator[CodeProblem]:
    told = (
        "no class extends CustomModel: write `class MyModel(CustomModel):` with load() and infer()"
    )
    if not code.classes:
        yield CodeProblem(told, "files")
    for each in code.classes.values():
        yield CodeProblem(told, "files", each.file, each.node.lineno)
        return


def _method_problems(found: ClassRead, code: CodeRead) -> Iterator[CodeProblem]:
    if code.extends_unknown(found):
        return  # a class that is not here may bring them
    methods, assigned = code.methods(found), code.assigned(found)
    for name in _NEEDED:
        if name not in methods and name not in assigned:
            told = f"class {found.name} has no {name}(): write `def {_signature(name)}:`"
            yield CodeProblem(told, "files", found.file, found.node.lineno)
    for file, function in (methods[name] for name in _NEEDED if name in methods):
        if isinstance(function, ast.AsyncFunctionDef):
            told = f"{function.name}() is async, and nobody awaits it: write a plain def"
            yield CodeProblem(told, "files", file, function.lineno)
    if (infer := methods.get("infer")) and not _takes_a_picture(infer[1]):
        told = "infer() takes no picture: write `def infer(self, image):`"
        yield CodeProblem(told, "files", infer[0], infer[1].lineno)


def _signature(name: str) -> str:
    return "load(self)" if name == "load" else "infer(self, image)"


def _takes_a_picture(function: Function) -> bool:
    taken = function.args
    return len(taken.posonlyargs + taken.args) >= 2 or taken.vararg is not None


# Keyword arguments


def _kwargs_problems(
    found: ClassRead, code: CodeRead, kwargs: Mapping[str, str]
) -> Iterator[CodeProblem]:
    """As far as __init__ stands in the files: those of other packages are not known here."""
    known = code.methods(found).get("__init__")
    if any(each.decorated for each in code.lineage(found)):
        return  # a decorator such as dataclass may write one
    if known is None:
        if kwargs and not code.extends_unknown(found):
            told = f"{found.name} has no __init__ that takes it: write one, or remove it"
            yield from (CodeProblem(told, f"kwargs.{name}") for name in kwargs)
        return
    file, init = known
    takes = {each.name: each for each in _arguments(init)}
    for name in kwargs:
        if name not in takes and init.args.kwarg is None:
            listed = ", ".join(takes) or "nothing"
            told = f"{found.name}.__init__ takes no {name}; it takes {listed}: correct it"
            yield CodeProblem(told, f"kwargs.{name}")
    for name, argument in takes.items():
        if argument.default is None and name not in kwargs:
            told = f"__init__ needs {name}, which kwargs lacks: add kwargs.{name}, or a default"
            yield CodeProblem(told, f"kwargs.{name}", file, init.lineno)


def _arguments(init: Function) -> Iterator[Argument]:
    """What may be given by keyword, in its order."""
    taken = init.args
    positional = taken.posonlyargs + taken.args
    defaults = [None] * (len(positional) - len(taken.defaults)) + list(taken.defaults)
    for each, default in list(zip(positional, defaults, strict=True))[1:]:
        if each not in taken.posonlyargs:
            yield Argument(each.arg, _default(default))
    for each, default in zip(taken.kwonlyargs, taken.kw_defaults, strict=True):
        yield Argument(each.arg, _default(default))


def _default(node: ast.expr | None) -> str | None:
    if node is None:
        return None
    if isinstance(node, ast.Constant):
        return str(node.value)
    try:
        return ast.unparse(node)
    except RecursionError:
        return "…"
