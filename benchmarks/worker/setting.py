"""What one run of bench_worker is about: the model, how many pictures, and what is asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Targets = Mapping[str, float | None]
_NONE: Targets = {"m1": None, "m2": None, "m3": None, "m3_int8": None, "m5": None}
TARGETS: Mapping[str, Targets] = {
    "blip-base": {"m1": 0.97, "m2": 0.9, "m3": 1.3, "m3_int8": 2.0, "m5": 0.98},
    "tiny": {**_NONE, "m3": 2.3},
}


@dataclass(frozen=True)
class Setting:
    model: str
    weights: Path
    work: Path
    """A folder for this part of the run alone."""
    threads: int
    rounds: int
    pictures: int
    tokens: int = 12

    @property
    def sizes(self) -> tuple[int, ...]:
        """Batch sizes that are tried, on both sides."""
        return (1, 2, 4, 8, 16) if self.model == "tiny" else (1, 2, 4, 8)

    @property
    def size(self) -> tuple[int, int]:
        """Small enough to be decoded whole by every side: the captions must be the same."""
        return (128, 96) if self.model == "tiny" else (512, 384)

    @property
    def most_differing(self) -> int:
        """Captions of a round that two sides may write differently. Rounding depends on the size
        of a batch: trained weights do not mind, random ones leave near ties to it."""
        return 0 if self.model == "tiny" else self.pictures // 10

    @property
    def targets(self) -> Targets:
        return TARGETS[self.model]


def spec_for(setting: Setting, quantization: str = "none") -> dict[str, Any]:
    return {
        "source": {"volume": {"path": str(setting.weights)}},
        "generation": {"maxNewTokens": setting.tokens},
        "batching": {"maxBatchSize": setting.sizes[-1]},
        "loader": {"quantization": quantization},
        "inference": {"timeoutSeconds": 600},
        "acceptance": {"smokeTest": False},
    }
