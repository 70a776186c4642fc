"""One engine against what it cannot beat and what it must: a plain loop, and a naive one.

    python -m benchmarks.bench_worker [--model tiny|blip-base] [--rounds 5] [--pictures 64]

All sides have the same weights, threads, tokens and pictures, run in turn, and must write the same
captions. The plain loop gets the best batch size of those tried here, the engine learns its own
while it warms up; the naive loop captions one picture at a time, as the original system did.
Prints one JSON line per metric.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.bench_throughput import TINY, OfflineLoop, write_pictures
from benchmarks.offline_loop import digest
from benchmarks.random_blip import write_random_blip

from captionfleet.resources.model import ModelSpec
from captionfleet_worker.engine_process import EngineOrder, EngineProcess, Shot
from captionfleet_worker.launching import Launcher
from captionfleet_worker.learning import KeptSizes, Learning

_TOKENS = 12
_SIZES = (1, 2, 4, 8, 16)


def order_for(weights: Path, place: Path, threads: int) -> EngineOrder:
    spec = {
        "source": {"volume": {"path": str(weights)}}, "generation": {"maxNewTokens": _TOKENS},
        "batching": {"maxBatchSize": _SIZES[-1]}, "acceptance": {"smokeTest": False},
    }  # fmt: skip
    return EngineOrder(
        model="measured", spec=ModelSpec.model_validate(spec), device="cpu", threads=threads,
        custom_infer=place, cache=None, rooms=place / "rooms", log_file=place / "engine.log",
    )  # fmt: skip


class Fed:
    """An engine fed from a queue in this process: two batches in flight, as a consumer does it."""

    def __init__(self, engine: EngineProcess, place: Path) -> None:
        self._engine = engine
        self.learning = Learning(_SIZES[-1], KeptSizes(place / "sizes.json"), "benchmark")

    async def run(self, pictures: Path) -> tuple[float, str]:
        """Seconds, and a digest of the captions."""
        waiting = deque(file.read_bytes() for file in sorted(pictures.iterdir()))
        flights: deque[tuple[int, asyncio.Task[Any]]] = deque()
        captions: list[str] = []
        began = landed = time.perf_counter()
        while waiting or flights:
            while waiting and len(flights) < 2:
                size = min(self.learning.size({}), len(waiting))
                shots = [Shot(waiting.popleft(), "") for _ in range(size)]
                flights.append((size, asyncio.create_task(self._engine.run(shots, {}))))
            size, running = flights.popleft()
            captions += [str(answer.text) for answer in await running]
            now = time.perf_counter()
            if size == self.learning.size({}):
                self.learning.note({}, size, size / (now - landed))
            landed = now
        return now - began, digest(captions)


async def throughput(
    weights: Path, work: Path, arguments: argparse.Namespace, launcher: Launcher
) -> list[dict[str, object]]:
    threads = os.cpu_count() or 1
    plain = OfflineLoop(weights, threads)
    order = order_for(weights, work, threads)
    engine = await EngineProcess.start(order, lambda *_: None, launcher.launch)
    fed = Fed(engine, work)
    # Small enough to be decoded whole by both sides: the captions must be the same.
    size = (128, 96) if arguments.model == "tiny" else (512, 384)
    pictures = write_pictures(work / "warm", arguments.pictures, 0, size)
    best = min(_SIZES, key=lambda batch: plain.seconds(pictures, batch, _TOKENS))
    while fed.learning.chosen is None:
        await fed.run(pictures)
    alone, naive, ours = list[float](), list[float](), list[float]()
    for turn in range(1, arguments.rounds + 1):
        pictures = write_pictures(work / f"round-{turn}", arguments.pictures, turn, size)
        seconds, said = plain.run(pictures, best, _TOKENS)
        own_seconds, own_said = await fed.run(pictures)
        if said != own_said:
            raise RuntimeError("the captions differ")
        alone.append(seconds)
        ours.append(own_seconds)
        naive.append(plain.seconds(pictures, 1, _TOKENS))
    await engine.stop()
    plain.close()
    about = {"model": arguments.model, "pictures": arguments.pictures, "threads": threads,
             "plain_batch": best, "learned_batch": fed.learning.chosen}  # fmt: skip
    return [
        about | compared("engine on a full queue / best plain loop", alone, ours, target=0.97),
        about | compared("engine on a full queue / one at a time", naive, ours, target=1.3),
    ]


def compared(
    metric: str, before: list[float], after: list[float], target: float
) -> dict[str, object]:
    """How many times as fast `after` is, round by round."""
    ratios = [a / b for a, b in zip(before, after, strict=True)]
    return {
        "metric": metric, "ratio": round(statistics.median(ratios), 3), "target": target,
        "ratios": [round(ratio, 3) for ratio in ratios],
    }  # fmt: skip


async def loads(
    weights: Path, work: Path, rounds: int, launcher: Launcher
) -> list[dict[str, object]]:
    """From nothing to a loaded model: by a new process, and by the warm fork-server."""
    order = order_for(weights, work, os.cpu_count() or 1)

    async def seconds(**how: Callable[..., Any]) -> float:
        began = time.perf_counter()
        engine = await EngineProcess.start(order, lambda *_: None, **how)
        took = time.perf_counter() - began
        await engine.stop()
        return took

    cold, warm = list[float](), list[float]()
    for _ in range(rounds):
        cold.append(await seconds())
        warm.append(await seconds(launch=launcher.launch))
    ratio = statistics.median(b / a for a, b in zip(cold, warm, strict=True))
    return [{
        "metric": "load with the fork-server warm / as a new process", "ratio": round(ratio, 3),
        "target": 0.1, "cold_seconds": round(statistics.median(cold), 2),
        "warm_seconds": round(statistics.median(warm), 2),
    }]  # fmt: skip


async def measure(arguments: argparse.Namespace, work: Path) -> None:
    weights = TINY
    if arguments.model == "blip-base":
        weights = work / "weights"
        write_random_blip(weights, _TOKENS)
    launcher = Launcher()
    try:
        for found in await throughput(weights, work, arguments, launcher):
            print(json.dumps(found), flush=True)
        for found in await loads(weights, work, min(3, arguments.rounds), launcher):
            print(json.dumps(found | {"model": arguments.model}), flush=True)
    finally:
        await launcher.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["tiny", "blip-base"], default="tiny")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=64)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        asyncio.run(measure(arguments, Path(work)))


if __name__ == "__main__":
    main()
