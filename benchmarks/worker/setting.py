"""What one run of a benchmark is about: the model, how many pictures, and what is asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Shape:
    """What a model's size decides."""

    pictures: int
    """Per round, unless told otherwise: several of the largest batches."""
    batches: tuple[int, ...]
    """Batch sizes that are tried, on both sides."""
    picture_size: tuple[int, int] = (512, 384)
    """Small enough to be decoded whole by every side: the captions must be the same."""
    targets: Mapping[str, float] = field(default_factory=dict)
    trained: bool = False
    """Its weights are no random ones."""
    prompt: str = ""


SHAPES: Mapping[str, Shape] = {
    "blip-base": Shape(
        32, (1, 2, 4, 8), targets={"m1": 0.97, "m2": 0.9, "m3": 1.3, "m3_int8": 2.0, "m5": 0.98}
    ),
    "tiny": Shape(64, (1, 2, 4, 8, 16), (128, 96), {"m3": 2.3}, trained=True),
}


@dataclass(frozen=True)
class Setting:
    model: str
    shape: Shape
    weights: Path
    work: Path
    """A folder for this part of the run alone."""
    threads: int
    rounds: int
    pictures: int
    tokens: int = 12
    device: str = "cpu"
    dtype: str = "float32"

    @property
    def most_differing(self) -> int:
        """Captions of a round that two sides may write differently. Rounding depends on the size
        of a batch: trained weights do not mind, random ones leave near ties to it."""
        return 0 if self.shape.trained else self.pictures // 10

    def told(self) -> dict[str, object]:
        """What must be known to repeat the run."""
        return {
            "model": self.model, "pictures": self.pictures, "rounds": self.rounds,
            "batches": self.shape.batches, "tokens": self.tokens, "threads": self.threads,
        }  # fmt: skip


def spec_for(setting: Setting, **loader: str) -> dict[str, Any]:
    """A CaptionModel's spec. `loader` overrides what transformers would decide."""
    return {
        "source": {"volume": {"path": str(setting.weights)}},
        "generation": {"maxNewTokens": setting.tokens, "prompt": setting.shape.prompt},
        "batching": {"maxBatchSize": setting.shape.batches[-1]},
        "loader": loader,
        "inference": {"timeoutSeconds": 600},
        "acceptance": {"smokeTest": False, "timeoutSeconds": 1200},
    }
