"""Pictures on their way to a model: whole where it matters, small where it does not."""

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.conftest import SHAPES

from captionfleet_worker.engine.pictures import (
    BadPicture,
    open_picture,
    open_pictures,
    sufficient_size,
)


def photo(size: tuple[int, int], kind: str = "JPEG") -> bytes:
    """Smooth, as photos are."""
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(buffer, kind, quality=95)
    return buffer.getvalue()


def scaled(image: Image.Image) -> Any:
    return np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC), dtype=float)


@pytest.mark.parametrize(
    ("enough", "size"),
    [(None, (1536, 1152)), ((384, 384), (1536, 1152)), ((224, 224), (768, 576)),
     ((96, 50), (192, 144))],
)  # fmt: skip
def test_a_jpeg_is_decoded_no_smaller_than_twice_what_is_needed(
    enough: tuple[int, int] | None, size: tuple[int, int]
) -> None:
    assert open_picture(photo((1536, 1152)), enough).size == size


def test_a_smaller_decoding_looks_the_same_to_the_model() -> None:
    picture = photo((1536, 1152))
    whole, small = (scaled(open_picture(picture, enough)) for enough in (None, (224, 224)))
    assert np.abs(whole - small).mean() < 0.5 and np.abs(whole - small).max() <= 8


def test_other_formats_are_decoded_whole() -> None:
    assert open_picture(photo((800, 600), "PNG"), (100, 100)).size == (800, 600)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"size": {"height": 384, "width": 512}}, (512, 384)),
        ({"size": {"shortest_edge": 224}}, (224, 224)),
        ({"size": {"longest_edge": 96}}, None),
        ({"size": {"height": 384, "width": 384}, "do_image_splitting": True}, None),
        ({"size": {"height": 384, "width": 384}, "do_resize": False}, None),
        ({}, None),
    ],
)
def test_a_model_that_may_look_closer_gets_the_whole_picture(
    settings: dict[str, Any], size: tuple[int, int] | None
) -> None:
    processor = type("Processor", (), {"do_resize": True, **settings})()
    assert sufficient_size(processor) == size


def test_pictures_keep_their_order_and_a_bad_one_is_told() -> None:
    good = (SHAPES / "pictures" / "shapes-01.png").read_bytes()
    with ThreadPoolExecutor(4) as decoders:
        sizes = [photo((32 + each, 32)) for each in range(8)]
        opened = open_pictures(sizes, None, decoders)
        assert [image.width for image in opened] == list(range(32, 40))
        with pytest.raises(BadPicture, match="cannot be decoded"):
            open_pictures([good, b"noise"], None, decoders)
