"""How figures are told: a ratio per round, their median, the target, and how busy the machine was.

Rounds are compared with each other, never across: a neighbor slows down both sides of a round.
"""

import os
import statistics
from collections.abc import Mapping, Sequence
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


def differing(side: str, ours: Sequence[str], others: Sequence[str], most: int) -> int:
    """How many captions differ. Raises RuntimeError above `most`: then the sides were not asked
    the same, and their times say nothing."""
    count = sum(a != b for a, b in zip(ours, others, strict=True))
    if count > most:
        first = next((a, b) for a, b in zip(ours, others, strict=True) if a != b)
        raise RuntimeError(
            f"{count} of {len(ours)} captions of the worker and of {side} differ, above {most}: "
            f"{first[0]!r} and {first[1]!r}"
        )
    return count


def equal_threads(sides: Mapping[str, int]) -> None:
    """Raises RuntimeError if torch has more threads on one side than on another."""
    if len(set(sides.values())) > 1:
        told = ", ".join(f"{side} {threads}" for side, threads in sides.items())
        raise RuntimeError(
            f"torch's threads differ, so the sides cannot be compared ({told}): unset "
            "OMP_NUM_THREADS and MKL_NUM_THREADS"
        )


def load() -> float:
    """The machine's load average over the last minute."""
    return round(os.getloadavg()[0], 1)


def read(pictures: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted(pictures.iterdir())]
