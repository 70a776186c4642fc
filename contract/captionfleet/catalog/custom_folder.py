"""Finds CustomModel classes in a folder of Python files by reading them, never by importing.

The catalog offers each as a model; the worker, which does import them, reports their digests.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from captionfleet.resources.manifest import Metadata, ModelManifest
from captionfleet.resources.model import Custom, ModelSpec


@dataclass(frozen=True)
class FoundClass:
    """A class that extends CustomModel, seen in a file."""

    file: Path
    module: str
    name: str
    sha256: str

    @property
    def entrypoint(self) -> str:
        return f"{self.module}:{self.name}"


def find_classes(folder: Path, problems: list[str] | None = None) -> list[FoundClass]:
    """All CustomModel classes in folder/*.py. Files that are no Python are told in `problems`."""
    found: list[FoundClass] = []
    for file in sorted(folder.glob("*.py")) if folder.is_dir() else ():
        try:
            code = file.read_bytes()
            tree = ast.parse(code, file.name)
        except (OSError, SyntaxError, ValueError) as error:
            if problems is not None:
                problems.append(f"{file}: not valid Python: {error}")
            continue
        digest = hashlib.sha256(code).hexdigest()
        found += [FoundClass(file, file.stem, name, digest) for name in _custom_models(tree)]
    return found


def offered_models(folder: Path, problems: list[str]) -> Iterator[tuple[ModelManifest, Path]]:
    """A manifest per found class, named after its file (and class, if the file has several)."""
    classes = find_classes(folder, problems)
    for each in classes:
        alone = sum(other.file == each.file for other in classes) == 1
        name = _resource_name(each.module if alone else f"{each.module}-{each.name}")
        if not name:
            problems.append(f"{each.file}: its name gives no resource name: use letters and digits")
            continue
        spec = ModelSpec(custom=Custom(entrypoint=each.entrypoint))
        metadata = Metadata(name=name, annotations={"captionfleet.io/file": str(each.file)})
        yield ModelManifest(metadata=metadata, spec=spec), each.file


def _custom_models(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            bases = {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
                     for base in node.bases}  # fmt: skip
            if "CustomModel" in bases:
                yield node.name


def _resource_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
