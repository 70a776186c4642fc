"""Whether a model whose files are here can fit at all: asked before an engine is started for it.

The planner asks earlier and better, but for files that nobody had seen before it can only guess.
"""

from pathlib import Path

from captionfleet.sizes import gigabytes, weight_sizes
from captionfleet_worker.engine.protocol import EngineOrder, LoadFailed


def check_fits(order: EngineOrder, free_bytes: int | None) -> None:
    """Raises LoadFailed if the weights alone, once loaded, are more than what is free; None is not
    known. `order` has its files. Own code may take as little of its folder as it likes."""
    if order.spec.custom:
        return
    folder = _folder(order)
    sizes = weight_sizes(folder) if folder else None
    if sizes is None or free_bytes is None:
        return
    width = order.spec.weight_width("CPU" if order.device == "cpu" else "GPU")
    needed = sizes.loaded(width)
    if needed <= free_bytes:
        return
    raise LoadFailed(
        "InsufficientMemory",
        f"{order.model} was not tried: its weights alone take {_told(sizes.stored, needed)}, and "
        f"{gigabytes(free_bytes)} are free on this worker: "
        "unload another model here, or give its pool more memory",
        retriable=True,
    )


def _folder(order: EngineOrder) -> Path | None:
    if order.files:
        return order.files
    volume = order.spec.source.volume if order.spec.source else None
    return Path(volume.path) if volume else None


def _told(stored: int, needed: int) -> str:
    """Where the two differ a person would look for a mistake."""
    on_disk, loaded = gigabytes(stored), gigabytes(needed)
    return loaded if loaded == on_disk else f"{loaded} when loaded ({on_disk} on the disk)"
