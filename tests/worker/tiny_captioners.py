"""The tiny checkpoints, loaded in the test's own process: engines would each import torch."""

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from tests.worker.tiny_models import build

from captionfleet.resources.model import Generation, Loader, PipelineTag
from captionfleet_worker.engine.answering import Caption
from captionfleet_worker.engine.checkpoint import load_checkpoint
from captionfleet_worker.engine.generation import Settled, settled
from captionfleet_worker.engine.pictures import open_picture
from captionfleet_worker.engine.transformers_captioner import TransformersCaptioner

SIX = Settled(max_new_tokens=6, min_new_tokens=6)
TWO_BEAMS = Settled(max_new_tokens=6, min_new_tokens=6, num_beams=2)
PICTURES = [
    Image.new("RGB", (40, 90), "red"),
    Image.new("RGB", (64, 64), "blue"),
    Image.linear_gradient("L").convert("RGB"),
]
_SIZES = [(1, 1), (40, 90), (300, 8), (64, 64), (4000, 3000)]


@cache
def captioner_of(family: str) -> TransformersCaptioner:
    """Built and loaded once."""
    with TemporaryDirectory() as place:
        return loaded(build(family, Path(place)))


def loaded(
    folder: Path, loader: Loader | None = None, tag: PipelineTag | None = None
) -> TransformersCaptioner:
    return TransformersCaptioner(load_checkpoint(folder, loader or Loader(), "cpu", tag))


def captions(
    captioner: TransformersCaptioner,
    images: Sequence[Image.Image],
    prompt: str = "",
    how: Settled = SIX,
) -> list[Caption]:
    return captioner.generate(captioner.prepare(list(images), prompt, how), lambda place: False)


def one_by_one(
    captioner: TransformersCaptioner,
    images: Sequence[Image.Image],
    prompt: str = "",
    how: Settled = SIX,
) -> list[Caption]:
    return [captions(captioner, [image], prompt, how)[0] for image in images]


def habitual(captioner: TransformersCaptioner, **stated: Any) -> Settled:
    """How it writes where a manifest says no more than this."""
    return settled(Generation(**stated), captioner.habits)


@cache
def every_size() -> list[Image.Image]:
    """From 1x1 to 4,000x3,000 pixels, each with another gradient, as an engine opens them."""
    return [_gradient(size, turned * 90) for turned, size in enumerate(_SIZES)]


def _gradient(size: tuple[int, int], turned: int) -> Image.Image:
    light, buffer = Image.linear_gradient("L").rotate(turned).resize(size), io.BytesIO()
    Image.merge("RGB", (light, light.transpose(Image.Transpose.ROTATE_180), light)).resize(
        size
    ).save(buffer, "JPEG")
    return open_picture(buffer.getvalue())
