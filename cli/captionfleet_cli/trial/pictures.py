"""The pictures that a trial shows: a person's own, or drawn ones, normalized as the server does."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from captionfleet_cli.submit.pictures import find_pictures
from captionfleet_cli.trouble import Exit, Trouble

_SIDE, _PIXELS = 1536, 50_000_000
Named = tuple[str, bytes]
"""Name and normalized picture."""


def load_pictures(paths: Sequence[Path]) -> list[Named]:
    """The same pixels that a worker would get. Raises Trouble for what is no picture."""
    from captionfleet_api.images.normalize import BadPicture, normalize

    named = [(each.filename, each.path.read_bytes()) for each in find_pictures(paths)]
    loaded = []
    for name, file in named or list(drawn_pictures()):
        try:
            loaded.append((name, normalize(file, side=_SIDE, pixels=_PIXELS).picture))
        except BadPicture as error:
            raise Trouble(f"{name}: {error.message}", Exit.USAGE) from None
    return loaded


def drawn_pictures() -> Iterator[Named]:
    """Four of different content and shape: a batch whose order or padding is wrong shows."""
    for name, size, paper, ink in (
        ("a drawn picture", (256, 256), "white", "red"),
        ("a drawn wide picture", (320, 160), "black", "yellow"),
        ("a drawn tall picture", (120, 300), "blue", "white"),
        ("a drawn small picture", (64, 64), "green", "black"),
    ):
        yield name, _drawn(size, paper, ink)


def _drawn(size: tuple[int, int], paper: str, ink: str) -> bytes:
    """A circle left of a square, as PNG."""
    image = Image.new("RGB", size, paper)
    pen, (width, height) = ImageDraw.Draw(image), size
    pen.ellipse((width // 8, height // 3, width * 3 // 8, height * 2 // 3), fill=ink)
    pen.rectangle((width * 5 // 8, height // 3, width * 7 // 8, height * 2 // 3), fill=ink)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
