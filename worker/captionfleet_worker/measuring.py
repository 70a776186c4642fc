"""How fast a copy is: pictures per second by batch size, and the median seconds per picture."""

import statistics
from collections import deque

# Weight of the newest batch. The first batches after a load are slow; five later ones drown them.
_SMOOTHING = 0.3


class Pace:
    """Measurements of one copy."""

    def __init__(self) -> None:
        self.rates: dict[int, float] = {}
        """Pictures per second by batch size, smoothed."""
        self._seconds: deque[float] = deque(maxlen=100)

    def note(self, size: int, seconds: float) -> None:
        """A batch of `size` pictures took the engine `seconds`."""
        rate = size / max(seconds, 1e-6)
        known = self.rates.get(size, rate)
        self.rates[size] = known + _SMOOTHING * (rate - known)
        self._seconds.extend([seconds / size] * size)

    @property
    def median_seconds(self) -> float | None:
        """Median seconds per picture over the last 100."""
        return statistics.median(self._seconds) if self._seconds else None
