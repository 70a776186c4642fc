"""How large a local model's weights are: a first estimate of its memory."""

import time
from pathlib import Path

from captionfleet.resources import ModelSpec
from captionfleet.sizes import weight_bytes

_LOOK_AGAIN_SECONDS = 60.0


class Weights:
    """Sizes of weight files in local folders, looked up once a minute."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, int | None]] = {}

    def size(self, spec: ModelSpec) -> int | None:
        """Bytes of the weights; None for models whose files are not on this machine."""
        if not spec.source or not spec.source.volume:
            return None
        path = spec.source.volume.path
        looked, size = self._known.get(path, (-_LOOK_AGAIN_SECONDS, None))
        if time.monotonic() - looked > _LOOK_AGAIN_SECONDS:
            size = weight_bytes(Path(path))
            self._known[path] = (time.monotonic(), size)
        return size
