"""CustomModel: the class a person extends to bring their own captioning code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image


class CustomModel(ABC):
    """A captioner written by its user. A worker creates it, sets the attributes, calls load() once.

    device   "cpu" or "cuda:0", set before load().
    weights  local folder of spec.source, if the manifest names one.
    """

    device: str = "cpu"
    weights: Path | None = None

    @abstractmethod
    def load(self) -> None:
        """Load what infer() needs. Raise to report that the model cannot run here."""

    @abstractmethod
    def infer(self, image: Image) -> str:
        """Return the caption of one RGB picture.

        A subclass may also take `prompt: str` and `options: dict[str, Any]`, matched by name.
        """

    def infer_batch(
        self, images: Sequence[Image], prompts: Sequence[str], options: dict[str, Any]
    ) -> list[str]:
        """Return one caption per picture, in order. The default calls infer() one by one."""
        accepted = set(signature(self.infer).parameters)
        infer: Callable[..., str] = self.infer
        captions = []
        for image, prompt in zip(images, prompts, strict=True):
            offered = {"prompt": prompt, "options": options}
            given = {name: value for name, value in offered.items() if name in accepted}
            captions.append(infer(image, **given))
        return captions

    def unload(self) -> None:  # noqa: B027 - an optional hook, not an abstract one
        """Free what load() took. Called once before the engine ends; the default does nothing."""
