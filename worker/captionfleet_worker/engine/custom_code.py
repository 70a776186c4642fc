"""A person's own CustomModel: loaded from its file, called, and its mistakes told by file and line.

The code runs unchecked, with the rights of the engine: whoever may put files here may run code.
"""

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from captionfleet.custom import CustomModel
from captionfleet.resources.model import Custom, Generation
from captionfleet_worker.engine.answering import BadResult, Caption, is_out_of_memory
from captionfleet_worker.engine.generation import as_options
from captionfleet_worker.engine.protocol import LoadFailed


class CustomCaptioner:
    """A Captioner over an object of a person's class. `folder` is where its code lies."""

    def __init__(self, model: Any, folder: Path) -> None:
        self._model = model
        self._folder = folder

    def prompt_problem(self, prompt: str) -> str | None:
        """Own code may be asked anything."""
        return None

    def describe(self, error: BaseException) -> str:
        return describe(error, self._folder)

    def unload(self) -> None:
        unload = getattr(self._model, "unload", None)
        if unload:
            unload()

    def caption(
        self, images: list[Image.Image], prompt: str, generation: Generation
    ) -> list[Caption]:
        prompts, options = [prompt] * len(images), as_options(generation)
        if hasattr(self._model, "infer_batch"):
            results = self._model.infer_batch(images, prompts, options)
        else:  # a class of the original system need not extend ours
            results = CustomModel.infer_batch(self._model, images, prompts, options)
        return _captions(results, len(images))


def _captions(results: Any, count: int) -> list[Caption]:
    if not isinstance(results, list | tuple):
        raise BadResult(
            f"infer_batch() must return a list of str, but returned {type(results).__name__}"
        )
    if len(results) != count:
        raise BadResult(f"infer_batch() returned {len(results)} captions for {count} picture(s)")
    for result in results:
        if not isinstance(result, str):
            raise BadResult(f"a caption must be str, but infer() returned {type(result).__name__}")
    return [Caption(result) for result in results]


def load_custom(custom: Custom, folder: Path, device: str, weights: Path | None) -> CustomCaptioner:
    """Import the class, make an object of it, load() it. Raises LoadFailed."""
    folder = folder.resolve()
    module_name, _, class_name = custom.entrypoint.partition(":")
    file = folder.joinpath(*module_name.split(".")).with_suffix(".py")
    try:
        module = _import(module_name, file, folder)
        made_by = getattr(module, class_name, None)
        if made_by is None:
            raise LoadFailed("CodeError", f"{file.name} has no class {class_name}")
        model = made_by(**custom.kwargs)
        model.device, model.weights = device, weights
        model.load()
    except LoadFailed:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise LoadFailed("CodeError", describe(error, folder)) from error
    return CustomCaptioner(model, folder)


def _import(name: str, file: Path, folder: Path) -> Any:
    if not file.is_file():
        raise LoadFailed(
            "SourceNotFound", f"there is no {file}: put it there, or correct spec.custom.entrypoint"
        )
    top = name.partition(".")[0]
    if top in sys.modules or importlib.util.find_spec(top):
        raise LoadFailed(
            "CodeError", f"{file.name} has the name of an installed Python module: rename it"
        )
    # Last, so that a helper module beside it is found but hides nothing that is installed.
    sys.path.append(str(folder))
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def describe(error: BaseException, folder: Path) -> str:
    """`ValueError: no colors (colors.py, line 12, in infer)`: the last place in a person's code."""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{Path(error.filename).name}, line {error.lineno}"
        return f"{type(error).__name__}: {error.msg} ({place})"
    text = f"{type(error).__name__}: {error}"
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve().is_relative_to(folder)
    ]
    if own:
        text += f" ({Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name})"
    return text


def code_digest(folder: Path) -> str:
    """Digest of the modules imported from the folder, helpers included."""
    digest = hashlib.sha256()
    for file in sorted(_imported_from(folder.resolve())):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _imported_from(folder: Path) -> Iterator[Path]:
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and Path(file).resolve().is_relative_to(folder):
            yield Path(file).resolve()
