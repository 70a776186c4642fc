"""A worker with models of real sizes on a GPU, against the plain loop and the naive worker.

    python -m benchmarks.bench_gpu [--only blip-large,...] [--rounds 5] [--pictures 256] [--smoke]

Random weights of BLIP-large, SmolVLM-500M and Qwen3-VL-2B are written first; nothing is
downloaded. The worker is a real one on a real RabbitMQ, and sides run in turn. Prints one JSON line
per model, or one that says why it did not run.
--smoke takes the same way with tiny models on the CPU: it proves that this runs, not how fast.
"""

import argparse
import asyncio
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from benchmarks.gpu.checkpoints import MAKERS, Size, write
from benchmarks.gpu.throughput import measure
from benchmarks.plain_model import PROMPT
from benchmarks.worker.setting import Setting, Shape
from benchmarks.worker.stage import broker

from captionfleet.logs import configure_logging

_TOKENS = 20
_PICTURES = 256
_TARGETS = {"m1": 0.95, "m3": 8.0}
_SHAPES = {
    Size.REAL: Shape(_PICTURES, (1, 8, 16, 32, 64, 128), targets=_TARGETS),
    # The tiny models look at 32 pixels: larger pictures would be decoded at a part of their size.
    Size.SMOKE: Shape(_PICTURES, (1, 2, 4), (128, 96), _TARGETS),
}
_WITHOUT_CHAT = "blip-large"


async def _measure_all(arguments: argparse.Namespace, work: Path) -> None:
    async with broker(work / "rabbitmq") as url:
        for name in arguments.only.split(","):
            found: dict[str, Any] = await measure(_setting(name, arguments, work / name), url)
            smoke = {"smoke": True} if arguments.smoke else {}
            print(json.dumps({"benchmark": "gpu", "ran": True, **found, **smoke}), flush=True)


def _setting(name: str, arguments: argparse.Namespace, work: Path) -> Setting:
    """Writes the checkpoint too."""
    size = Size.SMOKE if arguments.smoke else Size.REAL
    shape = replace(_SHAPES[size], prompt="" if name == _WITHOUT_CHAT else PROMPT)
    work.mkdir()
    # Torch's default on this machine is what the naive worker has: all sides get the same.
    return Setting(
        name, shape, write(name, size, work / "weights", _TOKENS), work, torch.get_num_threads(),
        arguments.rounds, arguments.pictures, _TOKENS,
        device="cpu" if arguments.smoke else "cuda:0",
        dtype="float32" if arguments.smoke else "bfloat16",
    )  # fmt: skip


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(MAKERS), help="models, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=_PICTURES)
    parser.add_argument("--smoke", action="store_true", help="tiny models on the CPU")
    return parser.parse_args()


def main() -> None:
    arguments = _parsed()
    configure_logging("benchmark", "warning")
    if not arguments.smoke and not torch.cuda.is_available():
        why = "torch finds no CUDA device"
        print(json.dumps({"benchmark": "gpu", "ran": False, "why": why}))
        return
    with tempfile.TemporaryDirectory() as work:
        asyncio.run(_measure_all(arguments, Path(work)))


if __name__ == "__main__":
    main()
