"""How large things are: the weights in a folder, and bytes as people read them."""

from pathlib import Path


def weight_bytes(folder: Path) -> int | None:
    """Total of folder/*.safetensors, else of folder/*.bin; None if there is neither."""
    for pattern in ("*.safetensors", "*.bin"):
        try:
            sizes = [file.stat().st_size for file in folder.glob(pattern)]
        except OSError:
            return None
        if sizes:
            return sum(sizes)
    return None


def gigabytes(size: int) -> str:
    """1.2 GB, or 340 MB below one. Less than nothing is 0 MB."""
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{max(size, 0) / 1e6:.0f} MB"
