"""Pictures per second through the whole product, against the plain offline loop.

    python -m benchmarks.bench_throughput [--model blip-base|tiny] [--rounds 5] [--pictures 24]

Both sides have the same weights, batch size, tokens and threads, and run in turn, A B A B.
Consumers are ready and pictures normalized before the clock starts. Prints one JSON line.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
from benchmarks.fleet import running_fleet, upload, wait_until_loaded
from benchmarks.random_blip import write_random_blip
from benchmarks.worker.plain import ROOT, OfflineLoop
from PIL import Image

TINY = ROOT / "examples" / "shapes" / "models" / "shapes-basic"

MANIFESTS = """
apiVersion: captionfleet.io/v1alpha1
kind: CaptionWorkerPool
metadata: {name: cpu}
spec:
  device: {type: CPU}
  autoscaling: {minReplicas: 1, maxReplicas: 1}
---
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {name: measured}
spec:
  source: {volume: {path: "%(weights)s"}}
  generation: {maxNewTokens: %(tokens)d}
  batching: {maxBatchSize: %(batch)d}
  residency: {policy: Pinned, minCopies: 1, maxCopies: 1}
  inference: {timeoutSeconds: 600}
"""


def write_pictures(folder: Path, count: int, seed: int, size: tuple[int, int] = (512, 384)) -> Path:
    """Pictures of about 40 kB, as the api would have normalized them."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        noise = random.integers(0, 255, (24, 32, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:04d}.jpg", quality=95, subsampling=0)
    return folder


async def product_seconds(client: httpx.AsyncClient, pictures: Path) -> float:
    """From the submission of uploaded pictures to the last caption."""
    images = await upload(client, pictures)
    began = time.perf_counter()
    job = (await client.post("/jobs", json={"images": images, "models": ["measured"]})).json()
    while job["state"] == "running":
        await asyncio.sleep(0.25)  # looking costs the api CPU that the engine would use
        job = (await client.get(f"/jobs/{job['id']}")).json()
    if job["counts"]["captioned"] != len(images):
        raise RuntimeError(f"not all were captioned: {job['counts']}")
    return time.perf_counter() - began


async def measure(arguments: argparse.Namespace, work: Path) -> dict[str, object]:
    tokens, batch = 12, 4 if arguments.model == "blip-base" else 8
    weights = TINY
    if arguments.model == "blip-base":
        weights = work / "weights"
        write_random_blip(weights, tokens)
    threads = os.cpu_count() or 1
    offline = OfflineLoop(weights, threads)
    manifests = MANIFESTS % {"weights": weights, "tokens": tokens, "batch": batch}
    alone, through = [], []
    with running_fleet(work / "fleet", manifests) as fleet:
        async with fleet.client() as client:
            await wait_until_loaded(client, {"measured"})
            for turn in range(arguments.rounds + 1):
                pictures = write_pictures(work / f"round-{turn}", arguments.pictures, turn)
                a = offline.seconds(pictures, batch, tokens)
                b = await product_seconds(client, pictures)
                if turn:  # the first round warms both sides up
                    alone.append(arguments.pictures / a)
                    through.append(arguments.pictures / b)
    offline.close()
    ratios = [b / a for a, b in zip(alone, through, strict=True)]
    return {
        "benchmark": "throughput", "model": arguments.model, "rounds": arguments.rounds,
        "pictures": arguments.pictures, "batch": batch, "tokens": tokens, "threads": threads,
        "offline_per_second": round(statistics.median(alone), 3),
        "product_per_second": round(statistics.median(through), 3),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "target": 0.9 if arguments.model == "blip-base" else None,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["blip-base", "tiny"], default="blip-base")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=24)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        print(json.dumps(asyncio.run(measure(arguments, Path(work)))))


if __name__ == "__main__":
    main()
