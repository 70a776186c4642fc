"""A real worker on a real RabbitMQ against what it cannot beat, and against what it must.

    python -m benchmarks.bench_worker [--only m1,m7] [--model blip-base|tiny] [--rounds 2]
                                      [--pictures 32]

M1, M3 and M5 are measured together, in turn. The metrics' files are in benchmarks/worker/.
Prints one JSON line per metric, with the command that repeats it. With blip-base on two cores all
of it is estimated at three quarters of an hour, two thirds of which are M1, M3 and M5.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import torch
from benchmarks.bench_throughput import TINY
from benchmarks.random_blip import write_random_blip
from benchmarks.worker import latency, photos, start, throughput, wire
from benchmarks.worker.setting import SHAPES, Setting
from benchmarks.worker.stage import broker

from captionfleet.logs import configure_logging

Measure = Callable[[Setting, str], Awaitable[list[dict[str, object]]]]
PARTS: dict[str, tuple[set[str], Measure]] = {
    "throughput": ({"m1", "m3", "m5"}, throughput.measure),
    "photos": ({"m2"}, photos.measure),
    "wire": ({"m6"}, wire.measure),
    "latency": ({"m7"}, latency.measure),
    "start": ({"m12"}, start.measure),
}


async def measure(arguments: argparse.Namespace, work: Path) -> None:
    asked = set(arguments.only.split(",")) if arguments.only else set()
    shape = SHAPES[arguments.model]
    # Torch's default on this machine is what the naive worker has: all sides get the same.
    setting = Setting(
        arguments.model, shape, _weights(arguments.model, work), work, torch.get_num_threads(),
        arguments.rounds, arguments.pictures or shape.pictures,
    )  # fmt: skip
    async with broker(work / "rabbitmq") as url:
        for name, (metrics, part) in PARTS.items():
            if asked and not asked & metrics:
                continue
            place = work / name
            place.mkdir()
            for line in await part(replace(setting, work=place), url):
                metric = str(line["metric"]).split()[0].lower()
                if not asked or metric in asked:
                    told = {"benchmark": "worker", "command": _command(setting, metric)}
                    print(json.dumps(told | setting.told() | line), flush=True)


def _command(setting: Setting, metric: str) -> str:
    return (
        f"python -m benchmarks.bench_worker --only {metric} --model {setting.model} "
        f"--rounds {setting.rounds} --pictures {setting.pictures}"
    )


def _weights(model: str, work: Path) -> Path:
    if model == "tiny":
        return TINY
    write_random_blip(work / "weights", Setting.tokens)
    return work / "weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sorted(SHAPES), default="blip-base")
    parser.add_argument("--only", default="", help="metrics, separated by commas: m1,m2,m3,...")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=0, help="per round; 32, or 64 tiny ones")
    arguments = parser.parse_args()
    configure_logging("benchmark", "warning")
    with tempfile.TemporaryDirectory() as work:
        asyncio.run(measure(arguments, Path(work)))


if __name__ == "__main__":
    main()
