"""What weight files hold, told by their headers alone."""

import os
import struct
from pathlib import Path

import pytest
from tests.weight_files import write_safetensors

from captionfleet.sizes import WeightSizes, gigabytes, weight_sizes


def test_numbers_are_told_from_what_loading_keeps(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model-1.safetensors", a=("BF16", 200), b=("F32", 400))
    write_safetensors(tmp_path / "model-2.safetensors", c=("I64", 80), d=("F16", 20))
    sizes = weight_sizes(tmp_path)
    assert sizes and (sizes.numbers, sizes.kept) == (100 + 100 + 10, 80)
    assert (sizes.loaded(4), sizes.loaded(2)) == (920, 500)
    assert sizes.loaded(None) == sum(file.stat().st_size for file in tmp_path.iterdir())


def test_only_one_of_several_ways_to_keep_the_same_weights_counts(tmp_path: Path) -> None:
    assert weight_sizes(tmp_path) is None
    (tmp_path / "pytorch_model.bin").write_bytes(b"12345")
    assert weight_sizes(tmp_path) == WeightSizes(stored=5, numbers=0, kept=5)
    write_safetensors(tmp_path / "consolidated.safetensors", a=("BF16", 8))
    write_safetensors(tmp_path / "model.fp16.safetensors", a=("F16", 8))
    write_safetensors(tmp_path / "model.safetensors", a=("F32", 16))
    sizes = weight_sizes(tmp_path)
    assert sizes and sizes.numbers == 4


def with_header(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"12",
        b"\xff" * 20,
        with_header("[{}]"),
        with_header("{}" * 2),
        with_header("[" * 100_000),
        with_header('{"a": {"dtype": "F32"}}'),
        with_header('{"a": {"dtype": "F32", "data_offsets": [5]}}'),
        with_header('{"a": {"dtype": "F32", "data_offsets": [0, NaN]}}'),
        with_header('{"a": {"dtype": ["F32"], "data_offsets": [0, 8]}}'),
    ],
    ids=lambda content: content[8:60].decode(errors="replace"),
)
def test_a_file_without_sense_counts_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    assert weight_sizes(tmp_path) == WeightSizes(len(content), 0, len(content))


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")  # opening it would wait for ever
    (tmp_path / "other.safetensors").mkdir()
    assert weight_sizes(tmp_path) is None
    (tmp_path / "pytorch_model.bin").write_bytes(b"12345")
    assert weight_sizes(tmp_path) == WeightSizes(stored=5, numbers=0, kept=5)


def test_bytes_are_told_as_people_read_them() -> None:
    assert [gigabytes(size) for size in (1_200_000_000, 340_000_000, -1)] == [
        "1.2 GB", "340 MB", "0 MB",
    ]  # fmt: skip
