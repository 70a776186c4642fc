"""How large things are: the weights in a folder, and bytes as people read them."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

_PATTERNS = (
    "model.safetensors", "model*.safetensors", "*.safetensors", "pytorch_model*.bin", "*.bin",
)  # fmt: skip
"""The first that a folder has: other files beside those are variants of the same model."""
_NUMBERS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes of one number, by the name that safetensors has for those that loading converts."""
_LONGEST_HEADER = 100_000_000
"""Bytes; safetensors itself refuses longer ones."""


@dataclass(frozen=True)
class WeightSizes:
    """What weight files hold."""

    stored: int
    """Bytes on the disk."""
    numbers: int
    """Floating-point numbers, which loading converts to the format that is asked for."""
    kept: int
    """Bytes of all else, which stay as they are."""

    def loaded(self, width: int | None) -> int:
        """Bytes in memory with `width` bytes to a number; None keeps all as it is stored."""
        return self.stored if width is None else self.numbers * width + self.kept


def weight_sizes(folder: Path) -> WeightSizes | None:
    """Of the weights in a folder; None if there are none. Pickles are taken as they are stored."""
    try:
        found = ([f for f in folder.glob(each) if f.is_file()] for each in _PATTERNS)
        sizes = [_sizes_of(file) for file in next(filter(None, found), [])]
    except OSError:
        return None
    return _sum(sizes) if sizes else None


def _sizes_of(file: Path) -> WeightSizes:
    stored = file.stat().st_size
    try:
        tensors = _tensors(file)
        numbers = sum(size // _NUMBERS[kind] for kind, size in tensors if kind in _NUMBERS)
        kept = sum(size for kind, size in tensors if kind not in _NUMBERS)
    except OSError:
        raise
    except Exception:  # there is no end to what can be wrong, and loading tells what it is
        return WeightSizes(stored, 0, stored)
    return WeightSizes(stored, numbers, kept)


def _tensors(file: Path) -> list[tuple[str, int]]:
    """Format and bytes of each, by the header of a safetensors file. Raises anything for one that
    is none."""
    if file.suffix != ".safetensors":
        raise ValueError("a pickle")
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(min(length, _LONGEST_HEADER)))
    told = [each for name, each in header.items() if name != "__metadata__"]
    return [(each["dtype"], _length(*each["data_offsets"])) for each in told]


def _length(begin: int, end: int) -> int:
    return int(end - begin)  # JSON has numbers that are none: NaN and Infinity


def _sum(sizes: list[WeightSizes]) -> WeightSizes:
    return WeightSizes(
        sum(each.stored for each in sizes),
        sum(each.numbers for each in sizes),
        sum(each.kept for each in sizes),
    )


def gigabytes(size: int) -> str:
    """1.2 GB, or 340 MB below one. Less than nothing is 0 MB."""
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{max(size, 0) / 1e6:.0f} MB"
