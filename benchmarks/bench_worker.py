"""A real worker on a real RabbitMQ against what it cannot beat, and against what it must.

    python -m benchmarks.bench_worker [--only m1,m7] [--model blip-base|tiny] [--rounds 2]
                                      [--pictures 8]

M1, M3 and M5 are measured together, in turn. The metrics' files are in benchmarks/worker/.
Prints one JSON line per metric. Takes about ten minutes with blip-base on two cores.
"""

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.bench_throughput import TINY
from benchmarks.random_blip import write_random_blip
from benchmarks.worker import latency, photos, start, throughput, wire
from benchmarks.worker.setting import Setting
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
    setting = Setting(
        arguments.model, _weights(arguments.model, work), work, os.cpu_count() or 1,
        arguments.rounds, arguments.pictures or (8 if arguments.model == "blip-base" else 64),
    )  # fmt: skip
    async with broker(work / "rabbitmq") as url:
        for name, (metrics, part) in PARTS.items():
            if asked and not asked & metrics:
                continue
            place = work / name
            place.mkdir()
            for line in await part(replace(setting, work=place), url):
                if not asked or str(line["metric"]).split()[0].lower() in asked:
                    print(json.dumps({"benchmark": "worker"} | line), flush=True)


def _weights(model: str, work: Path) -> Path:
    if model == "tiny":
        return TINY
    write_random_blip(work / "weights", Setting.tokens)
    return work / "weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["blip-base", "tiny"], default="blip-base")
    parser.add_argument("--only", default="", help="metrics, separated by commas: m1,m2,m3,...")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=0, help="per round; 8, or 64 tiny ones")
    arguments = parser.parse_args()
    configure_logging("benchmark", "warning")
    with tempfile.TemporaryDirectory() as work:
        asyncio.run(measure(arguments, Path(work)))


if __name__ == "__main__":
    main()
