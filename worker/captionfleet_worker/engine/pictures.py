"""Pictures of a batch: decoded in threads, as small as the model will ever see them."""

import io
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

from PIL import Image

_SMALLEST_SIDE = 16
_MARGIN = 2


_LOOKS_CLOSER = (
    "do_image_splitting", "do_pan_and_scan", "crop_to_patches", "image_grid_pinpoints",
    "max_patches", "min_pixels", "max_pixels", "patch_size", "max_image_tiles",
)  # fmt: skip
"""Settings of processors that cut a picture up or take it at its own size."""


class BadPicture(ValueError):
    """Bytes that are no picture."""


def open_pictures(
    pictures: Sequence[bytes], enough: tuple[int, int] | None, decoders: Executor
) -> list[Image.Image]:
    """All of them, decoded at the same time. See open_picture()."""
    return list(decoders.map(lambda picture: open_picture(picture, enough), pictures))


def open_picture(picture: bytes, enough: tuple[int, int] | None = None) -> Image.Image:
    """The picture as RGB, at least 16 pixels on each side. Raises BadPicture, or MemoryError: that
    is said of this moment, not of the picture.

    `enough`: width and height to which the model scales it down. A JPEG is decoded at the smallest
    of 1/1, 1/2, 1/4 and 1/8 of its size that has twice as much. Without that margin captions of
    doubtful pictures changed; with it, one of 128 pictures of noise got another caption.
    Processors take a height or width of 1 or 3 for the number of color channels.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(picture))
        if enough:
            width, height = enough
            image.draft(None, (_MARGIN * width, _MARGIN * height))
        image = image.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # whatever a decoder raises for broken bytes
        if "out of memory" in str(error):  # how Pillow tells that of its decoders in C
            raise MemoryError(str(error)) from None
        raise BadPicture(f"the picture cannot be decoded ({type(error).__name__})") from None
    if min(image.size) < _SMALLEST_SIDE:
        width, height = (max(_SMALLEST_SIDE, side) for side in image.size)
        image = image.resize((width, height))
    return image


def sufficient_size(processor: Any) -> tuple[int, int] | None:
    """Width and height to which an image processor scales every larger picture; None if unsure."""
    size = dict(getattr(processor, "size", None) or {})
    if not getattr(processor, "do_resize", False):
        return None
    if any(getattr(processor, name, None) for name in _LOOKS_CLOSER):
        return None
    if set(size) == {"height", "width"}:
        return int(size["width"]), int(size["height"])
    if set(size) == {"shortest_edge"}:
        return int(size["shortest_edge"]), int(size["shortest_edge"])
    return None
