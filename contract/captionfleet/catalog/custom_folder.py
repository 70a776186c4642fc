"""Finds captioning classes in a folder of Python files by reading them, never by importing.

The catalog offers each CustomModel as a model; workers report every class that may be named as an
entrypoint, with a digest of the code behind it.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from captionfleet.messages import broken_file
from captionfleet.resources.manifest import Metadata, ModelManifest
from captionfleet.resources.model import Custom, ModelSpec

_MOST_FILES = 500


@dataclass(frozen=True)
class FoundClass:
    """A class that may caption, seen in a file."""

    file: Path
    module: str
    name: str
    """Empty if the file is no Python: it stands for all classes that it may have."""
    sha256: str
    """Of its file and of the modules of the folder that it imports."""
    offered: bool = True
    """It extends CustomModel, in a file that stands in the folder itself."""
    problem: str = ""
    """Why the file is no Python, with its line; empty if it is."""

    @property
    def entrypoint(self) -> str:
        return f"{self.module}:{self.name}" if self.name else broken_file(self.module)


def find_classes(folder: Path, problems: list[str] | None = None) -> list[FoundClass]:
    """All classes that may caption. Files that are no Python are told in `problems`."""
    code = _Code(folder)
    if problems is not None:
        problems += code.problems
    return [found for file in code.texts for found in code.classes(file)]


def offered_models(folder: Path, problems: list[str]) -> Iterator[tuple[ModelManifest, Path]]:
    """A manifest per offered class, named after its file (and class, if the file has several)."""
    classes = [each for each in find_classes(folder, problems) if each.offered]
    for each in classes:
        alone = sum(other.file == each.file for other in classes) == 1
        name = _resource_name(each.module if alone else f"{each.module}-{each.name}")
        if not name or not each.module.isidentifier() or not each.entrypoint.isascii():
            problems.append(
                f"{each.file}: no manifest can name {each.entrypoint}: name file and class by "
                "a to z, A to Z, 0 to 9 and _, not beginning with a digit, such as my_model.py"
            )
            continue
        spec = ModelSpec(custom=Custom(entrypoint=each.entrypoint))
        metadata = Metadata(name=name, annotations={"captionfleet.io/file": str(each.file)})
        yield ModelManifest(metadata=metadata, spec=spec), each.file


class _Code:
    """Every file of one folder, read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._broken: dict[Path, str] = {}
        self.texts: dict[Path, bytes] = {}
        self._trees: dict[Path, ast.Module] = {}
        for file in _files(folder):
            try:
                self.texts[file] = file.read_bytes()
                self._trees[file] = ast.parse(self.texts[file], file.name)
            except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
                self._broken[file] = f"not valid Python: {error}"

    @property
    def problems(self) -> list[str]:
        return [f"{file}: {problem}" for file, problem in self._broken.items()]

    def classes(self, file: Path) -> Iterator[FoundClass]:
        module, digest = self._module(file), self._digest(file)
        if file not in self._trees:
            problem = self._broken[file]
            yield FoundClass(file, module, "", digest, offered=False, problem=problem)
            return
        nodes = [each for each in self._trees[file].body if isinstance(each, ast.ClassDef)]
        ours = _custom_models(nodes)
        for node in nodes:
            offered = node.name in ours and file.parent == self._folder
            if offered or node.bases or "infer" in _methods(node):
                yield FoundClass(file, module, node.name, digest, offered)

    def _module(self, file: Path) -> str:
        return ".".join(file.relative_to(self._folder).with_suffix("").parts)

    def _digest(self, file: Path) -> str:
        """Of the file, and of what it imports from here, however far that goes."""
        used, new = {file}, [file]
        while new:
            new = [other for each in new for other in self._imported(each) if other not in used]
            used.update(new)
        if len(used) == 1:
            return hashlib.sha256(self.texts[file]).hexdigest()
        digest = hashlib.sha256()
        for each in sorted(used):
            digest.update(f"{self._module(each)}\0{len(self.texts[each])}\0".encode())
            digest.update(self.texts[each])
        return digest.hexdigest()

    def _imported(self, file: Path) -> Iterator[Path]:
        for node in ast.walk(self._trees[file]) if file in self._trees else ():
            for name in _imported_names(node, self._module(file)):
                place = self._folder.joinpath(*name.removeprefix("custom_infer.").split("."))
                for found in (place.with_suffix(".py"), place / "__init__.py"):
                    if found in self.texts:
                        yield found


def _files(folder: Path) -> list[Path]:
    """Python files of the folder and of packages in it; hidden folders are none."""
    if not folder.is_dir():
        return []
    found = []
    for file in sorted(folder.rglob("*.py")):
        parts = file.relative_to(folder).parts
        if all(part.isidentifier() for part in parts[:-1]) and "__pycache__" not in parts:
            found.append(file)
    return found[:_MOST_FILES]


def _imported_names(node: ast.AST, module: str) -> Iterator[str]:
    """`a.b` for `import a.b`, `from a import b` and `from .a import b` (where b may be a class)."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = module.split(".")[: -node.level] if node.level else []
        base = [*above, *([node.module] if node.module else [])]
        if base:
            yield ".".join(base)
        yield from (".".join([*base, alias.name]) for alias in node.names)


def _custom_models(nodes: list[ast.ClassDef]) -> set[str]:
    """Public classes that extend CustomModel, also by way of another class of the file.

    One that others extend, and that cannot infer() itself, is only their base.
    """
    ours: set[str] = set()
    extended: set[str] = set()
    for node in nodes:  # a base stands above what extends it
        bases = {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
                 for base in node.bases}  # fmt: skip
        if "CustomModel" in bases or bases & ours:
            ours.add(node.name)
            extended |= bases
    bare = {node.name for node in nodes if "infer" not in _methods(node)}
    return {name for name in ours - (extended & bare) if not name.startswith("_")}


def _methods(node: ast.ClassDef) -> set[str]:
    return {each.name for each in node.body if isinstance(each, ast.FunctionDef)}


def _resource_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
