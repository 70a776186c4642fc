"""Makes one normalized picture of one uploaded file: what all models see, and a thumbnail.

Pure and blocking: it runs in a child process that may be killed (child.py). Only Pillow is needed.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

# _check_size judges by our own limits, before a pixel is decoded.
Image.MAX_IMAGE_PIXELS = None

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
LARGEST_SIDE = 20_000
THUMBNAIL_SIDE = 256
_SAMPLE_SIDE = 128
# What Pillow's decoders raise on broken files.
_BROKEN = (OSError, SyntaxError, ValueError, struct.error, EOFError, IndexError, KeyError,
           TypeError, ZeroDivisionError, OverflowError, NotImplementedError)  # fmt: skip
_FOREIGN = {
    b"%PDF": "a PDF file",
    b"8BPS": "a Photoshop file",
    b"\x00\x00\x01\x00": "an icon file",
    b"\xff\x0a": "a JPEG XL picture",
    b"\x00\x00\x00\x0cJXL ": "a JPEG XL picture",
    b"\x00\x00\x00\x0cjP  ": "a JPEG 2000 picture",
    b"%!PS": "a PostScript file",
    b"PK\x03\x04": "a zip archive",
}


class BadPicture(Exception):
    """A file that is no usable picture. `code` is for programs, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Normalized:
    """`picture` and `thumbnail` are encoded files; width and height are those of `picture`."""

    picture: bytes
    media_type: str
    width: int
    height: int
    thumbnail: bytes


def normalize(file: bytes, *, side: int, pixels: int) -> Normalized:
    """Decode, turn upright, lay on white, cut to `side`, encode. Raises BadPicture.

    side: longest side of the result. pixels: most pixels the file may have.
    """
    if not file:
        raise BadPicture("empty", "the file is empty: choose it again, its upload broke off")
    image = _opened(file)
    _check_size(image, pixels)
    with _broken_files_told():
        if image.format == "JPEG":
            image.draft("RGB", _fitted(image.size, side))
        image.load()
        image = _on_white(_upright(image))
        if max(image.size) > side:
            image = image.resize(_fitted(image.size, side), Image.Resampling.LANCZOS)
    picture, media_type = _encoded(image)
    return Normalized(picture, media_type, image.width, image.height, _thumbnail(image))


def _opened(file: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(file), formats=FORMATS)
    except UnidentifiedImageError:
        raise _unidentified(file) from None
    except _BROKEN as error:
        raise _undecodable(error) from None


def _unidentified(file: bytes) -> BadPicture:
    wanted = "use JPEG, PNG, WebP, GIF, BMP or TIFF"
    foreign = next((name for magic, name in _FOREIGN.items() if file.startswith(magic)), None)
    if b"<svg" in file[:4096].lower():
        foreign = "an SVG drawing"
    elif file[4:8] == b"ftyp":
        foreign = "a HEIC, AVIF or video file"
    if foreign:
        return BadPicture("unsupported_format", f"this is {foreign}: {wanted}")
    if file.startswith((b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")):
        return BadPicture("truncated", "the file begins like a picture, but its header is cut off")
    kind = "text" if _is_text(file[:1024]) else "no picture of a known format"
    return BadPicture("not_an_image", f"this is {kind}, whatever its name says: {wanted}")


def _is_text(head: bytes) -> bool:
    try:
        return head.decode("utf-8", "strict").isprintable() or b"\n" in head
    except UnicodeDecodeError:
        return False


def _check_size(image: Image.Image, pixels: int) -> None:
    """Judge by the header alone, before a single pixel is decoded."""
    width, height = image.size
    if width * height > pixels or max(width, height) > LARGEST_SIDE:
        raise BadPicture(
            "too_many_pixels",
            f"{width} x {height} pixels; at most {pixels / 1e6:g} megapixels and {LARGEST_SIDE} "
            "a side are taken: make it smaller",
        )
    if not width or not height:
        raise BadPicture("decode_failed", f"the picture has no pixels ({width} x {height})")


@contextmanager
def _broken_files_told() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise BadPicture(
            "decode_failed", "decoding takes more memory than allowed: make the picture smaller"
        ) from None
    except _BROKEN as error:
        raise _undecodable(error) from None


def _undecodable(error: Exception) -> BadPicture:
    text = str(error) or type(error).__name__
    cut_off = ("truncated", "not enough image data", "unexpected end", "eof")
    if isinstance(error, EOFError) or any(sign in text.lower() for sign in cut_off):
        return BadPicture("truncated", f"the file is cut off ({text}): copy or export it again")
    return BadPicture("decode_failed", f"the file is damaged ({text}): export it again")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _BROKEN:
        return image  # a broken EXIF block tells no orientation; the pixels are fine


def _on_white(image: Image.Image) -> Image.Image:
    """RGB, transparent parts white, 16-bit and float gray scaled to 8 bits."""
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    elif image.mode == "F":
        low, high = image.getextrema()
        scale = 255 / (high - low) if high > low else 0.0  # type: ignore[operator]
        image = image.point(lambda value: value * scale + -low * scale).convert("L")  # type: ignore[operator]
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image.getchannel("A"))
        return paper
    return image.convert("RGB")


def _fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The size with its longest side cut to `side`; never larger than it was."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _encoded(image: Image.Image) -> tuple[bytes, str]:
    """JPEG, or PNG if that is smaller; PNG is slow, so it is tried only where it has a chance."""
    jpeg = _file(image, "JPEG", quality=95, subsampling=0)
    if _is_flat(image):
        png = _file(image, "PNG")
        if len(png) < len(jpeg):
            return png, "image/png"
    return jpeg, "image/jpeg"


def _is_flat(image: Image.Image) -> bool:
    """Judged by a sample from the middle: a photo's PNG is several times its JPEG."""
    left, top = (max(0, (length - _SAMPLE_SIDE) // 2) for length in image.size)
    sample = image.crop(
        (left, top, min(left + _SAMPLE_SIDE, image.width), min(top + _SAMPLE_SIDE, image.height))
    )
    jpeg = _file(sample, "JPEG", quality=95, subsampling=0)
    # Packed loosely, which takes a tenth of the time and tells as much.
    return len(_file(sample, "PNG", compress_level=1)) < 2 * len(jpeg)


def _thumbnail(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return _file(small, "JPEG", quality=85)


def _file(image: Image.Image, format: str, **how: int) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **how)
    return file.getvalue()
