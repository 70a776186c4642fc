"""What stands in a person's code, read and never imported: classes, what they extend, methods.

Judges nothing but whether it is Python; `code_check.py` does the rest.
"""

import ast
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from captionfleet.resources.model import CustomFile

Function = ast.FunctionDef | ast.AsyncFunctionDef
_KNOWN_BASES = frozenset({"CustomModel", "ABC", "object"})


class NoPython(Exception):
    """A file that cannot be read; `why` ends with what to do. `line` counts from 1."""

    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why)
        self.why, self.line = why, line


@dataclass(frozen=True, eq=False)
class ClassRead:
    """A class, and the file that it stands in."""

    file: str
    node: ast.ClassDef

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def entrypoint(self) -> str:
        return f"{module_of(self.file)}:{self.name}"

    @property
    def bases(self) -> list[str]:
        """Last names: `captionfleet.CustomModel` is CustomModel. Other expressions are empty."""
        return [
            base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
            for base in self.node.bases
        ]

    @property
    def decorated(self) -> bool:
        return bool(self.node.decorator_list)


@dataclass
class CodeRead:
    """The classes of all files."""

    classes: dict[tuple[str, str], ClassRead] = field(default_factory=dict)
    """By module and name."""
    _named: dict[str, dict[str, ClassRead]] = field(default_factory=dict)
    """By name, then by module."""

    def add(self, file: CustomFile) -> None:
        """Raises NoPython."""
        for node in _statements(_parsed(file).body):
            if isinstance(node, ast.ClassDef):
                module, found = module_of(file.path), ClassRead(file.path, node)
                self.classes[module, node.name] = found
                self._named.setdefault(node.name, {})[module] = found

    def lineage(self, of: ClassRead) -> list[ClassRead]:
        """The class and all it extends among the files, itself first."""
        lineage = [of]
        for each in lineage:  # grows while it is walked
            lineage += [base for base in self.extended_by(each) if base not in lineage]
        return lineage

    def extended_by(self, of: ClassRead) -> list[ClassRead]:
        """The classes among the files that it names as its bases."""
        own = module_of(of.file)
        bases = []
        for name in of.bases:
            named = [each for each in self._named.get(name, {}).values() if each is not of]
            beside = [each for each in named if module_of(each.file) == own]
            bases += (beside or named)[:1]
        return bases

    def extends_unknown(self, of: ClassRead) -> bool:
        """A class of another package is among its ancestors, and may bring anything."""
        return any(
            base not in _KNOWN_BASES | {known.name for known in self.extended_by(each)}
            for each in self.lineage(of)
            for base in each.bases
        )

    def extends_ours(self, of: ClassRead) -> bool:
        return any("CustomModel" in each.bases for each in self.lineage(of))

    def methods(self, of: ClassRead) -> dict[str, tuple[str, Function]]:
        """Its own and those it inherits from the files: name -> (file, function)."""
        methods: dict[str, tuple[str, Function]] = {}
        for each in self.lineage(of):
            for node in _statements(each.node.body):
                if isinstance(node, Function):
                    methods.setdefault(node.name, (each.file, node))
        return methods

    def assigned(self, of: ClassRead) -> set[str]:
        """Names that it gets without a def: `infer = caption`."""
        nodes = [node for each in self.lineage(of) for node in _statements(each.node.body)]
        found = [place for node in nodes if isinstance(node, ast.Assign) for place in node.targets]
        return {place.id for place in found if isinstance(place, ast.Name)}


def module_of(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


def _parsed(file: CustomFile) -> ast.Module:
    try:
        with warnings.catch_warnings():  # such as an escape that is none: no reason to refuse
            warnings.simplefilter("ignore")
            return ast.parse(file.content, file.path)
    except SyntaxError as error:
        raise NoPython(f"not valid Python: {error.msg}: correct it", error.lineno) from None
    except ValueError as error:
        raise NoPython(f"not valid Python: {error}: save the file as UTF-8 text") from None
    except (RecursionError, MemoryError):
        told = "nested too deeply for Python to read: split the deepest expression"
        raise NoPython(told) from None


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Those that run when it is imported, in whatever branch."""
    waiting = list(reversed(body))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.ClassDef | Function):
            inner = [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt)]
            handlers = [each.body for each in getattr(node, "handlers", ())]
            waiting += reversed([*inner, *(each for body in handlers for each in body)])
