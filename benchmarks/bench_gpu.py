"""Engines of real sizes on a GPU, against the best plain loop and against one picture at a time.

    python -m benchmarks.bench_gpu [--only blip-large,...] [--rounds 5] [--pictures 256] [--smoke]

Random weights of BLIP-large, SmolVLM-500M and Qwen3-VL-2B are written first; nothing is
downloaded. Sides run in turn. Prints one JSON line per model, or one that says why it did not run.
--smoke takes the same way with tiny models on the CPU: it proves that this runs, not how fast.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from benchmarks.bench_throughput import ROOT, OfflineLoop, write_pictures
from benchmarks.gpu.checkpoints import MAKERS, Size, write
from benchmarks.gpu.plain_loop import PROMPT
from benchmarks.worker.figures import faster, load, read
from benchmarks.worker.in_process import captioned, order_for

from captionfleet.logs import configure_logging
from captionfleet_worker.engine_process import EngineProcess

_TOKENS = 20
_SIZES = (1, 8, 16, 32, 64, 128)
_SMOKE_SIZES = (1, 2, 4)


class PlainLoop(OfflineLoop):
    """benchmarks/gpu/plain_loop.py in its own process; its errors are shown."""

    def __init__(self, weights: Path, device: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu.plain_loop", str(weights), device],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip
        self._answer("ready")


async def measure(
    name: str, size: Size, device: str, arguments: argparse.Namespace, work: Path
) -> dict[str, object]:
    weights = write(name, size, work / "weights", _TOKENS)
    sizes = _SMOKE_SIZES if size == Size.SMOKE else _SIZES
    spec = {
        "source": {"volume": {"path": str(weights)}},
        "generation": {"maxNewTokens": _TOKENS},
        "batching": {"maxBatchSize": sizes[-1]},
        "inference": {"timeoutSeconds": 600},
        "acceptance": {"smokeTest": False, "timeoutSeconds": 1200},
    }
    threads = os.cpu_count() or 1
    plain = PlainLoop(weights, device)
    try:
        engine = await EngineProcess.start(order_for(spec, work, threads, device), lambda *_: None)
        try:
            return await _in_turn(name, sizes, engine, plain, arguments, work)
        finally:
            await engine.stop()
    finally:
        plain.close()


async def _in_turn(
    name: str, sizes: tuple[int, ...], engine: EngineProcess, plain: PlainLoop,
    arguments: argparse.Namespace, work: Path,
) -> dict[str, object]:  # fmt: skip
    prompt = "" if name == "blip-large" else PROMPT
    warm = write_pictures(work / "warm", arguments.pictures, 0)
    plain.seconds(warm, sizes[-1], _TOKENS)
    best = min(sizes, key=lambda size: plain.seconds(warm, size, _TOKENS))
    tried = {size: (await captioned(engine, read(warm), size, prompt))[0] for size in sizes}
    ours_best = min(tried, key=lambda size: tried[size])
    alone, naive, ours, equal = list[float](), list[float](), list[float](), list[bool]()
    for turn in range(1, arguments.rounds + 1):
        folder = write_pictures(work / f"round-{turn}", arguments.pictures, turn)
        seconds, said = plain.run(folder, best, _TOKENS)
        own_seconds, captions = await captioned(engine, read(folder), ours_best, prompt)
        alone.append(seconds)
        ours.append(own_seconds)
        naive.append(plain.seconds(folder, 1, _TOKENS))
        equal.append(captions == said)
    return {
        "benchmark": "gpu", "ran": True, "model": name, "device": _device_name(),
        "pictures": arguments.pictures, "plain_batch": best, "engine_batch": ours_best,
        # On a GPU rounding depends on the batch: random weights may then pick other words.
        "rounds_with_equal_captions": f"{sum(equal)} of {len(equal)}",
        "against_plain": faster("M1", alone, ours, 0.95),
        "against_one_at_a_time": faster("M3", naive, ours, 8.0),
        "pictures_per_second": round(arguments.pictures / min(ours), 2), "load": load(),
    }  # fmt: skip


def _device_name() -> str:
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(MAKERS), help="models, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--smoke", action="store_true", help="tiny models on the CPU")
    return parser.parse_args()


def main() -> None:
    arguments = _parsed()
    configure_logging("benchmark", "warning")
    if not arguments.smoke and not torch.cuda.is_available():
        why = "torch finds no CUDA device"
        print(json.dumps({"benchmark": "gpu", "ran": False, "why": why}))
        return
    size, device = (Size.SMOKE, "cpu") if arguments.smoke else (Size.REAL, "cuda:0")
    for name in arguments.only.split(","):
        with tempfile.TemporaryDirectory() as work:
            found: dict[str, Any] = asyncio.run(measure(name, size, device, arguments, Path(work)))
        print(json.dumps(found | ({"smoke": True} if arguments.smoke else {})), flush=True)


if __name__ == "__main__":
    main()
