"""How figures are told: a ratio per round, their median, the target, and how busy the machine was.

Rounds are compared with each other, never across: a neighbor slows down both sides of a round.
"""

import os
import statistics
from collections.abc import Sequence
from pathlib import Path


def faster(
    metric: str, before: Sequence[float], after: Sequence[float], target: float | None
) -> dict[str, object]:
    """How many times as fast `after` is than `before`; both are seconds of the same rounds."""
    ratios = [a / b for a, b in zip(before, after, strict=True)]
    return {
        "metric": metric, "ratio": round(statistics.median(ratios), 3), "at_least": target,
        "ratios": [round(ratio, 3) for ratio in ratios],
    }  # fmt: skip


def load() -> float:
    """The machine's load average over the last minute."""
    return round(os.getloadavg()[0], 1)


def read(pictures: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted(pictures.iterdir())]
