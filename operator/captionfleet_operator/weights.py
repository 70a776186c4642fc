"""What a local model's weight files hold: a first estimate of its memory."""

import time
from pathlib import Path

from captionfleet.resources import ModelSpec
from captionfleet.sizes import WeightSizes, weight_sizes

_LOOK_AGAIN_SECONDS = 60.0


class Weights:
    """Weight files in local folders, looked up once a minute."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, WeightSizes | None]] = {}

    def sizes(self, spec: ModelSpec) -> WeightSizes | None:
        """None for models whose files are not on this machine."""
        if not spec.source or not spec.source.volume:
            return None
        path = spec.source.volume.path
        looked, sizes = self._known.get(path, (-_LOOK_AGAIN_SECONDS, None))
        if time.monotonic() - looked > _LOOK_AGAIN_SECONDS:
            sizes = weight_sizes(Path(path))
            self._known[path] = (time.monotonic(), sizes)
        return sizes
