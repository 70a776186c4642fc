"""A model that computes nothing, so that all that is left is captionfleet, and pictures for it."""

import io
from typing import Any

import numpy as np
from PIL import Image

NO_OP = '''
from captionfleet import CustomModel


class NoOp(CustomModel):
    """Captions every picture alike."""

    def load(self):
        pass

    def infer(self, image, prompt):
        return f"a picture {prompt}"
'''
SPEC: dict[str, Any] = {"custom": {"entrypoint": "noop:NoOp"}, "batching": {"maxBatchSize": 8}}


def picture_of(size: int, seed: int) -> bytes:
    """A JPEG of about this many bytes, none like another. Noise takes about 0.68 bytes a pixel."""
    side = round((size / 0.68) ** 0.5)
    noise = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=80)
    return file.getvalue()
