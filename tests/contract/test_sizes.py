"""What weight files hold, told by their headers alone."""

from pathlib import Path

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


def test_a_file_without_sense_counts_as_it_is(tmp_path: Path) -> None:
    for content in (b"", b"12", b"\4\0\0\0\0\0\0\0[{}]", b"\2\0\0\0\0\0\0\0{}", b"\xff" * 20):
        (tmp_path / "model.safetensors").write_bytes(content)
        sizes = weight_sizes(tmp_path)
        assert sizes and sizes.stored == len(content) and sizes.numbers == 0


def test_bytes_are_told_as_people_read_them() -> None:
    assert [gigabytes(size) for size in (1_200_000_000, 340_000_000, -1)] == [
        "1.2 GB", "340 MB", "0 MB",
    ]  # fmt: skip
