"""Loads a checkpoint's processor: what makes numbers of pictures and texts, set as asked.

Says in words which Python package it lacks, and which setting would be ignored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from captionfleet_worker.engine.arguments import check_known, meant
from captionfleet_worker.engine.families import recipe_of, takes_no_text
from captionfleet_worker.engine.protocol import LoadFailed

_FIELD = "spec.loader.processor"
_PACKAGE = re.compile(r"[Pp]ackage `(\w+)`|requires the (\w+) library|No module named '(\w+)")


@dataclass(frozen=True)
class Processors:
    """The parts that take pictures and text, and the whole, if there is one."""

    whole: Any
    """Pictures and text together; None for a vision-encoder-decoder."""
    tokenizer: Any
    images: Any


def load_processors(
    folder: Path, model_type: str, trusted: bool, settings: Mapping[str, str],
    most_pixels: int | None = None,
) -> Processors:  # fmt: skip
    """Raises LoadFailed: MissingPackage, or InvalidSpec for a setting that it does not know."""
    _check_packages(recipe_of(model_type).needs, model_type)
    try:
        found = _load(folder, model_type, trusted)
    except (ImportError, AttributeError) as error:
        raise lacking(error, model_type) from error
    images = with_settings(found.images, meant(settings), most_pixels)
    if found.whole is not None:
        found.whole.image_processor = images
    return Processors(found.whole, found.tokenizer, images)


def _check_packages(needs: tuple[str, ...], model_type: str) -> None:
    # A package that is hidden has an entry without a module, at which find_spec() raises.
    for package in needs:
        try:
            there = find_spec(package) is not None
        except ValueError:
            there = False
        if not there:
            raise _missing(package, model_type)


def lacking(error: Exception, model_type: str) -> Exception:
    """The failure behind an exception of building a processor; itself if it tells nothing."""
    text = str(error)
    if named := _PACKAGE.search(text):
        return _missing(next(filter(None, named.groups())).lower(), model_type)
    if "Torchvision" in text or "VIDEO_PROCESSOR" in text:
        return _missing("torchvision", model_type)
    return error


def _missing(package: str, model_type: str) -> LoadFailed:
    return LoadFailed(
        "MissingPackage",
        f"models of type {model_type} need the Python package {package}, which this worker lacks: "
        f"run the pool on an image that has it (spec.image of the CaptionWorkerPool; FROM the "
        f"worker's image, RUN pip install {package}), or choose another model",
    )


def _load(folder: Path, model_type: str, trusted: bool) -> Processors:
    """The PIL image processors are taken although torchvision is there: they treat pictures one
    by one, so a batch cannot change a picture, they are what most checkpoints were trained with,
    and they start no threads that compete with the model's.
    """
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

    common: dict[str, Any] = {"trust_remote_code": trusted, "local_files_only": True}
    if not takes_no_text(model_type):
        try:
            whole = AutoProcessor.from_pretrained(folder, backend="pil", **common)
        except ImportError:  # families that also see videos exist for torchvision alone
            whole = AutoProcessor.from_pretrained(folder, **common)
        if hasattr(whole, "tokenizer") and hasattr(whole, "image_processor"):
            return Processors(whole, whole.tokenizer, whole.image_processor)
    # AutoProcessor hands back a bare tokenizer for these, without a word.
    tokenizer = AutoTokenizer.from_pretrained(folder, **common)
    images = AutoImageProcessor.from_pretrained(folder, backend="pil", **common)
    return Processors(None, tokenizer, images)


def with_settings(images: Any, settings: dict[str, Any], most_pixels: int | None) -> Any:
    """The image processor with these settings, and with no more pixels than its family bears."""
    check_known(_FIELD, settings, _known(images), "its image processor")
    bounded = "max_pixels" in settings or "size" in settings
    if most_pixels and not bounded and _pixels(images) > most_pixels:
        settings = {**settings, "size": {**_size(images), "longest_edge": most_pixels}}
    if not settings:
        return images
    try:
        return type(images).from_dict({**images.to_dict(), **settings})
    except Exception as error:  # whatever its constructor raises at a value it does not expect
        raise LoadFailed(
            "InvalidSpec",
            f"{_FIELD}: its image processor refuses {', '.join(sorted(settings))} "
            f"({type(error).__name__}: {error}): correct the values",
        ) from error


def _known(images: Any) -> set[str]:
    named = getattr(getattr(images, "valid_kwargs", None), "__annotations__", None)
    return set(named or {name for name in vars(images) if not name.startswith("_")})


def _pixels(images: Any) -> int:
    """The most pixels of a picture that this image processor keeps; 0 if it does not count them."""
    return _size(images).get("longest_edge", 0)


def _size(images: Any) -> dict[str, int]:
    stated = dict(getattr(images, "size", None) or {})
    return {edge: pixels for edge, pixels in stated.items() if pixels is not None}
