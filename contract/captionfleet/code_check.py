"""Judges a person's captioning code by reading it: is it Python, and is there a class to run?

Nothing is imported or executed, here or wherever this is called. Code that passes may still fail
on a worker, which alone runs it.
"""

import ast
import keyword
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import packages_distributions

from captionfleet.resources.model import CustomFile

MOST_FILES = 10
LARGEST_FILE = 100_000
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
_KNOWN_BASES = frozenset({"CustomModel", "ABC", "object"})
_NEEDED = ("load", "infer")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


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


@dataclass(frozen=True)
class _Class:
    file: str
    node: ast.ClassDef

    @property
    def entrypoint(self) -> str:
        return f"{module_of(self.file)}:{self.node.name}"


@dataclass
class _Code:
    """All files parsed: their top-level classes by module and name."""

    classes: dict[tuple[str, str], _Class] = field(default_factory=dict)
    problems: list[CodeProblem] = field(default_factory=list)


def check_code(
    files: Sequence[CustomFile], entrypoint: str = "", kwargs: Mapping[str, str] | None = None
) -> Checked:
    """Without an entrypoint the files must have one class that can be it."""
    code = _Code(problems=list(_size_problems(files)))
    for file in files:
        code.problems += _name_problems(file.path)
        _read(file, code)
    if code.problems:
        return Checked(entrypoint, tuple(code.problems))
    found, problems = _named(code, entrypoint) if entrypoint else _only(code)
    if found is None:
        return Checked(entrypoint, tuple(problems))
    problems = [*_method_problems(found, code), *_kwargs_problems(found, code, kwargs or {})]
    init = _methods(found, code).get("__init__")
    return Checked(found.entrypoint, tuple(problems), tuple(_arguments(init[1])) if init else ())


def module_of(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


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


def _read(file: CustomFile, code: _Code) -> None:
    try:
        tree = _parsed(file)
    except SyntaxError as error:
        told = f"not valid Python: {error.msg}: correct it"
        code.problems.append(CodeProblem(told, "files", file.path, error.lineno))
    except ValueError as error:
        told = f"not valid Python: {error}: save the file as UTF-8 text"
        code.problems.append(CodeProblem(told, "files", file.path))
    except (RecursionError, MemoryError):
        told = "nested too deeply for Python to read: split the deepest expression"
        code.problems.append(CodeProblem(told, "files", file.path))
    else:
        module = module_of(file.path)
        for node in _statements(tree.body):
            if isinstance(node, ast.ClassDef):
                code.classes[module, node.name] = _Class(file.path, node)


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Those that run when it is imported, in whatever branch."""
    waiting = list(reversed(body))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.ClassDef | _Function):
            inner = [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt)]
            handlers = [each.body for each in getattr(node, "handlers", ())]
            waiting += reversed([*inner, *(each for body in handlers for each in body)])


def _parsed(file: CustomFile) -> ast.Module:
    with warnings.catch_warnings():  # such as an escape that is none: no reason to refuse
        warnings.simplefilter("ignore")
        return ast.parse(file.content, file.path)


# Classes


def _named(code: _Code, entrypoint: str) -> tuple[_Class | None, Sequence[CodeProblem]]:
    module, _, name = entrypoint.partition(":")
    if not name:
        told = f"{entrypoint!r} is not module:Class: write it like my_model:MyModel"
        return None, [CodeProblem(told, "entrypoint")]
    if found := code.classes.get((module, name)):
        return found, ()
    known = ", ".join(each.entrypoint for each in code.classes.values()) or "none"
    told = f"there is no class {name} in {module}.py; the classes sent are {known}: name one"
    return None, [CodeProblem(told, "entrypoint")]


def _only(code: _Code) -> tuple[_Class | None, Sequence[CodeProblem]]:
    """The one class that can be it; those that others extend are not meant."""
    fitting = [each for each in code.classes.values() if _fits(each, code)]
    parents = {id(base) for each in fitting for base in _local_bases(each, code)}
    leaves = [each for each in fitting if id(each) not in parents]
    if len(leaves) == 1:
        return leaves[0], ()
    if not leaves:
        return None, list(_nothing_found(code))
    names = ", ".join(each.entrypoint for each in leaves)
    told = f"several classes could be the model: name one as entrypoint: {names}"
    return None, [CodeProblem(told, "entrypoint")]


def _fits(found: _Class, code: _Code) -> bool:
    if found.node.name.startswith("_"):
        return False
    extends = any(_extends_ours(each) for each in _lineage(found, code))
    return extends or all(name in _methods(found, code) for name in _NEEDED)


def _nothing_found(code: _Code) -> Iterator[CodeProblem]:
    told = (
        "no class extends CustomModel: write `class MyModel(CustomModel):` with load() and infer()"
    )
    if not code.classes:
        yield CodeProblem(told, "files")
    for each in code.classes.values():
        yield CodeProblem(told, "files", each.file, each.node.lineno)
        return


def _method_problems(found: _Class, code: _Code) -> Iterator[CodeProblem]:
    if any(_unknown_bases(each, code) for each in _lineage(found, code)):
        return  # a class that is not here may bring them
    methods, assigned = _methods(found, code), _assigned(found, code)
    for name in _NEEDED:
        if name not in methods and name not in assigned:
            told = f"class {found.node.name} has no {name}(): write `def {_signature(name)}:`"
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


def _methods(found: _Class, code: _Code) -> dict[str, tuple[str, _Function]]:
    """Methods of the class and of those it extends: name -> (file, function)."""
    methods: dict[str, tuple[str, _Function]] = {}
    for each in _lineage(found, code):
        for node in _statements(each.node.body):
            if isinstance(node, _Function):
                methods.setdefault(node.name, (each.file, node))
    return methods


def _assigned(found: _Class, code: _Code) -> set[str]:
    """Names that the class gets without a def: `infer = caption`."""
    nodes = [node for each in _lineage(found, code) for node in _statements(each.node.body)]
    targets = [target for node in nodes if isinstance(node, ast.Assign) for target in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _takes_a_picture(function: _Function) -> bool:
    taken = function.args
    return len(taken.posonlyargs + taken.args) >= 2 or taken.vararg is not None


def _lineage(found: _Class, code: _Code) -> list[_Class]:
    """The class and all it extends among the files, itself first."""
    lineage = [found]
    for each in lineage:  # grows while it is walked
        lineage += [base for base in _local_bases(each, code) if base not in lineage]
    return lineage


def _local_bases(found: _Class, code: _Code) -> list[_Class]:
    own = module_of(found.file)
    bases = []
    for name in _base_names(found):
        local = code.classes.get((own, name))
        other = next((each for (_, known), each in code.classes.items() if known == name), None)
        if base := local or other:
            bases.append(base)
    return bases


def _unknown_bases(found: _Class, code: _Code) -> bool:
    names = {known for _, known in code.classes}
    return any(name not in _KNOWN_BASES and name not in names for name in _base_names(found))


def _extends_ours(found: _Class) -> bool:
    return "CustomModel" in _base_names(found)


def _base_names(found: _Class) -> list[str]:
    """Last names: `captionfleet.CustomModel` is CustomModel. Other expressions are unknown."""
    return [
        base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
        for base in found.node.bases
    ]


# Keyword arguments


def _kwargs_problems(
    found: _Class, code: _Code, kwargs: Mapping[str, str]
) -> Iterator[CodeProblem]:
    """As far as __init__ stands in the files: those of other packages are not known here."""
    known = _methods(found, code).get("__init__")
    lineage = _lineage(found, code)
    if any(each.node.decorator_list for each in lineage):
        return  # a decorator such as dataclass may write one
    if known is None:
        if kwargs and not any(_unknown_bases(each, code) for each in lineage):
            told = f"{found.node.name} has no __init__ that takes it: write one, or remove it"
            yield from (CodeProblem(told, f"kwargs.{name}") for name in kwargs)
        return
    file, init = known
    takes = {each.name: each for each in _arguments(init)}
    for name in kwargs:
        if name not in takes and init.args.kwarg is None:
            listed = ", ".join(takes) or "nothing"
            told = f"{found.node.name}.__init__ takes no {name}; it takes {listed}: correct it"
            yield CodeProblem(told, f"kwargs.{name}")
    for name, argument in takes.items():
        if argument.default is None and name not in kwargs:
            told = f"__init__ needs {name}, which kwargs lacks: add kwargs.{name}, or a default"
            yield CodeProblem(told, f"kwargs.{name}", file, init.lineno)


def _arguments(init: _Function) -> Iterator[Argument]:
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
