"""Pictures for the node tests: toy scenes whose captions are known, and plain colors."""

import random
import sys
from io import BytesIO

from PIL import Image
from tests.conftest import SHAPES

sys.path.append(str(SHAPES / "trainer"))
from world import draw, fresh

ORACLE = '''
import time

from captionfleet import CustomModel


class Oracle(CustomModel):
    """Says the color of a plain picture, after a while."""

    def __init__(self, seconds="0.2", word="color"):
        self.seconds, self.word = float(seconds), word

    def load(self):
        pass

    def infer(self, image):
        time.sleep(self.seconds)
        return self.word + " #%02x%02x%02x" % image.getpixel((image.width // 2, image.height // 2))
'''


def scenes(count: int, seed: int) -> dict[str, bytes]:
    """File name -> a picture of colored shapes, none like another."""
    numbers = random.Random(seed)
    pictures = {}
    for number, scene in enumerate(fresh(numbers, count)):
        file = BytesIO()
        draw(scene, numbers, 256, 256)[0].save(file, "PNG")
        pictures[f"scene-{number:03d}.png"] = file.getvalue()
    return pictures


def plain(count: int, blue: int) -> dict[str, bytes]:
    """File name, which tells the color -> a picture of that color alone."""
    pictures = {}
    for number in range(count):
        color = (16 + number % 200, 16 + number // 200, blue)
        file = BytesIO()
        Image.new("RGB", (64, 48), color).save(file, "PNG")
        pictures["#{:02x}{:02x}{:02x}.png".format(*color)] = file.getvalue()
    return pictures
