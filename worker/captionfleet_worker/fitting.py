"""Whether a model whose files are here can fit at all: asked before an engine is started for it.

The planner asks earlier and better, but for files that nobody had seen before it can only guess.
"""

from pathlib import Path

from captionfleet.sizes import gigabytes, weight_bytes
from captionfleet_worker.engine.protocol import LoadFailed


def check_fits(model: str, files: Path | None, free_bytes: int | None) -> None:
    """Raises LoadFailed if the weights alone are more than what is free; None is not known."""
    weights = weight_bytes(files) if files else None
    if weights is None or free_bytes is None or weights <= free_bytes:
        return
    raise LoadFailed(
        "InsufficientMemory",
        f"{model} was not tried: its weights alone take {gigabytes(weights)}, and "
        f"{gigabytes(free_bytes)} are free on this worker: unload another model here, or "
        "give its pool more memory",
        retriable=True,
    )
