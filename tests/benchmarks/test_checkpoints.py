"""Random weights are good for comparing captions only if they caption each picture otherwise."""

from pathlib import Path

import pytest
from benchmarks.bench_throughput import write_pictures
from benchmarks.gpu.checkpoints import MAKERS, Size, write
from benchmarks.plain_model import PlainModel
from PIL import Image

from captionfleet_worker.engine.wording import tidy


@pytest.mark.parametrize("name", MAKERS)
def test_a_tiny_model_of_each_shape_captions_no_two_pictures_alike(
    name: str, tmp_path: Path
) -> None:
    weights = write(name, Size.SMOKE, tmp_path / "weights", 20)
    pictures = sorted(write_pictures(tmp_path / "pictures", 4, 0).iterdir())
    images = [Image.open(file).convert("RGB") for file in pictures]
    captions = {tidy(each) for each in PlainModel(str(weights)).captions(images, 20)}
    assert len(captions) == 4
    assert "" not in captions
