"""A person's own CustomModel: loaded from its file, called, and its mistakes told by file and line.

The code lies in folders: what the manifest brought, then custom_infer; the first that has a file
wins. It runs unchecked, with the rights of the engine: whoever may put files here may run code.
"""

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import unwrap
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from captionfleet.custom import CustomModel
from captionfleet.resources.model import Custom, Generation
from captionfleet_worker.engine.answering import BadResult, Caption, is_out_of_memory
from captionfleet_worker.engine.generation import Habits, as_options
from captionfleet_worker.engine.leaving import Left, staying, watch_exits
from captionfleet_worker.engine.memory_limit import MemoryLimit
from captionfleet_worker.engine.own_files import as_written
from captionfleet_worker.engine.protocol import LoadFailed


@dataclass(frozen=True)
class Asked:
    """A batch as own code takes it: it prepares its pictures itself."""

    images: list[Image.Image]
    prompt: str
    generation: Generation


class CustomCaptioner:
    """A Captioner over an object of a person's class. `folders` are where its code lies."""

    habits = Habits()
    enough = None
    """Own code gets its pictures whole."""

    def __init__(
        self, model: Any, folders: Sequence[Path], limit: MemoryLimit | None = None
    ) -> None:
        self._model = model
        self._folders = folders
        self._limit = limit

    def prompt_problem(self, prompt: str) -> str | None:
        """Own code may be asked anything."""
        return None

    def describe(self, error: BaseException) -> str:
        return describe(error, self._folders, self._limit)

    def unload(self) -> None:
        """Raises whatever the code raises, but nothing that would end the engine."""
        with staying():
            if unload := getattr(self._model, "unload", None):
                unload()

    def prepare(self, images: list[Image.Image], prompt: str, generation: Generation) -> Asked:
        return Asked(images, prompt, generation)

    def generate(self, prepared: Asked, cancelled: Callable[[int], bool]) -> list[Caption]:
        images = prepared.images
        prompts, options = [prepared.prompt] * len(images), as_options(prepared.generation)
        with staying():
            if self._takes_batches:
                results = self._model.infer_batch(images, prompts, options)
                return self._captions(results, len(images), "infer_batch")
            return [
                Caption("") if cancelled(place) else self._alone(image, prepared.prompt, options)
                for place, image in enumerate(images)
            ]

    @property
    def _takes_batches(self) -> bool:
        """A class of the original system need not extend ours."""
        own = getattr(self._model, "infer_batch", None)
        return own is not None and getattr(own, "__func__", None) is not CustomModel.infer_batch

    def _alone(self, image: Image.Image, prompt: str, options: dict[str, Any]) -> Caption:
        results = CustomModel.infer_batch(self._model, [image], [prompt], options)
        return self._captions(results, 1, "infer")[0]

    def _captions(self, results: Any, count: int, method: str) -> list[Caption]:
        if wrong := _wrong(results, count, method):
            raise BadResult(wrong + _place_of(getattr(self._model, method), self._folders))
        # A str of another class may answer anything when asked.
        return [Caption("".join([result])) for result in results]


def _wrong(results: Any, count: int, method: str) -> str | None:
    """What is no caption, or not one per picture."""
    if not isinstance(results, list | tuple):
        return f"{method}() must return a list of str, but returned {type(results).__name__}"
    if len(results) != count:
        return f"{method}() returned {len(results)} captions for {count} picture(s)"
    for result in results:
        if not isinstance(result, str):
            of = "" if method == "infer" else "a list with "
            return f"a caption must be str, but {method}() returned {of}{type(result).__name__}"
    return None


def _place_of(method: Any, folders: Sequence[Path]) -> str:
    """` (own.py, line 4, in infer)`: where it begins, as far as a person wrote it."""
    code = getattr(unwrap(method), "__code__", None)
    place = as_written(code.co_filename, folders) if code else None
    return f" ({place}, line {code.co_firstlineno}, in {code.co_name})" if code and place else ""


def load_custom(
    custom: Custom,
    folders: Sequence[Path],
    device: str,
    weights: Path | None,
    limit: MemoryLimit | None = None,
) -> CustomCaptioner:
    """Import the class, make an object of it, load() it. Raises LoadFailed."""
    module_name, _, class_name = custom.entrypoint.partition(":")
    file = _find(custom, folders)
    watch_exits(folders)
    try:
        with staying():
            module = _import(module_name, file, folders)
            made_by = getattr(module, class_name, None)
            if made_by is None:
                raise LoadFailed("CodeError", f"{file.name} has no class {class_name}")
            model = made_by(**custom.kwargs)
            model.device, model.weights = device, weights
            model.load()
    except LoadFailed:
        raise
    except Exception as error:
        told = describe(error, folders, limit)
        if is_out_of_memory(error):
            raise LoadFailed("OutOfMemory", told, retriable=True) from error
        raise LoadFailed("CodeError", told) from error
    return CustomCaptioner(model, folders, limit)


def _find(custom: Custom, folders: Sequence[Path]) -> Path:
    """The file of the class. Raises LoadFailed if no folder has it."""
    name = custom.file
    if found := next((f / name for f in folders if (f / name).is_file()), None):
        return found
    if custom.files:
        raise LoadFailed(
            "SourceNotFound",
            f"there is no {name}, neither in spec.custom.files nor in {folders[-1]}: add it to "
            "spec.custom.files, or correct spec.custom.entrypoint",
        )
    raise LoadFailed(
        "SourceNotFound",
        f"there is no {folders[-1] / name}: put it there or into spec.custom.files, or correct "
        "spec.custom.entrypoint",
    )


def _import(name: str, file: Path, folders: Sequence[Path]) -> Any:
    top = name.partition(".")[0]
    if top in sys.modules or importlib.util.find_spec(top):
        raise LoadFailed(
            "CodeError", f"{file.name} has the name of an installed Python module: rename it"
        )
    # Last, so that a helper module beside it is found but hides nothing that is installed.
    sys.path += map(str, folders)
    _name_custom_infer(folders)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _name_custom_infer(folders: Sequence[Path]) -> None:
    """Classes of the original system say `from custom_infer.base import CustomModel`."""
    package = ModuleType("custom_infer")
    package.__path__ = list(map(str, folders))
    sys.modules["custom_infer"] = package
    if not any((folder / "base.py").is_file() for folder in folders):
        sys.modules["custom_infer.base"] = sys.modules[CustomModel.__module__]


def describe(
    error: BaseException, folders: Sequence[Path], limit: MemoryLimit | None = None
) -> str:
    """`ValueError: no colors (colors.py, line 12, in infer)`: the last place in a person's code."""
    if isinstance(error, SyntaxError) and error.filename:
        written = as_written(error.filename, folders) or Path(error.filename).name
        return f"{type(error).__name__}: {error.msg} ({written}, line {error.lineno})"
    text = str(error) if isinstance(error, Left) else f"{type(error).__name__}: {error}"
    text = text.removesuffix(": ")
    if isinstance(error, Left):
        text += ", which a model must not do"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if place := as_written(frame.filename, folders):
            text += f" ({place}, line {frame.lineno}, in {frame.name})"
            break
    return f"{text}; {limit}" if limit and is_out_of_memory(error) else text


def code_digest(folders: Sequence[Path]) -> str:
    """Digest of the modules imported from the folders, helpers included."""
    imported = {
        place: Path(file)
        for module in list(sys.modules.values())
        if (file := getattr(module, "__file__", None)) and (place := as_written(file, folders))
    }
    digest = hashlib.sha256()
    for place, file in sorted(imported.items()):
        digest.update(place.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
