"""Whether a model whose files are here can fit at all: asked before an engine is started for it.

The planner asks earlier and better, but for files that nobody had seen before it can only guess.
"""

from pathlib import Path

from captionfleet_worker.engine.protocol import LoadFailed


def check_fits(model: str, files: Path | None, free_bytes: int | None) -> None:
    """Raises LoadFailed if the weights alone are more than what is free; None is not known."""
    weights = weight_bytes(files) if files else None
    if weights is None or free_bytes is None or weights <= free_bytes:
        return
    raise LoadFailed(
        "InsufficientMemory",
        f"{model} was not tried: its weights alone take {_gigabytes(weights)}, and "
        f"{_gigabytes(max(free_bytes, 0))} are free on this worker: unload another model here, or "
        "give its pool more memory",
        retriable=True,
    )


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


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"
