"""300 pictures x 3 models: is everything there, is memory bounded, does the ETA tell the truth.

    python -m benchmarks.bench_spine [--pictures 300]

Prints one JSON line. The anchor of the ETA error is the time that really passed.
"""

import argparse
import asyncio
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from benchmarks.fleet import RunningFleet, running_fleet, upload

SHAPES = Path(__file__).parent.parent / "examples" / "shapes"
MODELS = ["shapes-basic", "shapes-blip", "shapes-chat"]
sys.path.append(str(SHAPES / "trainer"))
from world import draw, fresh  # noqa: E402


def write_pictures(folder: Path, count: int) -> None:
    folder.mkdir()
    random_numbers = random.Random(11)
    for number, scene in enumerate(fresh(random_numbers, count)):
        draw(scene, random_numbers, 320, 320)[0].save(folder / f"{number:04d}.png")


async def watch(
    client: httpx.AsyncClient, fleet: RunningFleet, job: dict[str, Any]
) -> dict[str, Any]:
    """Follow the job to its end, noting forecasts, memory and what is on the broker."""
    (api,) = fleet.processes("captionfleet_api")
    began, memory, forecasts, released = time.monotonic(), [], [], [0]
    while job["state"] == "running":
        await asyncio.sleep(0.25)
        job = (await client.get(f"/jobs/{job['id']}")).json()
        memory.append(api.memory_info().rss)
        released.append(most_released(fleet.data / "captionfleet.db"))
        if job["eta_seconds"] is not None:
            forecasts.append((time.monotonic(), job["eta_seconds"]))
    ended = time.monotonic()
    errors = [abs(eta - (ended - at)) / (ended - began) for at, eta in forecasts]
    return {
        "seconds": round(ended - began, 1),
        "counts": job["counts"],
        "api_growth_mb": round((max(memory) - memory[0]) / 1e6, 1),
        "api_peak_mb": round(max(memory) / 1e6, 1),
        "most_on_the_broker_per_model": max(released),
        "eta_median_error": round(statistics.median(errors), 3) if errors else None,
    }


def most_released(database: Path) -> int:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            "SELECT count(*) FROM tasks WHERE state = 'queued' GROUP BY model"
        ).fetchall()
    return max((row[0] for row in rows), default=0)


async def measure(work: Path, pictures: int) -> dict[str, Any]:
    write_pictures(work / "pictures", pictures)
    models = (SHAPES / "models.yaml").read_text().replace("models/", f"{SHAPES}/models/")
    manifests = models + "\n---\n" + (SHAPES / "pool.yaml").read_text()
    with running_fleet(work / "fleet", manifests) as fleet:
        async with fleet.client() as client:
            images = await upload(client, work / "pictures")
            body = {"images": images, "models": MODELS}
            job = (await client.post("/jobs", json=body)).json()
            found = await watch(client, fleet, job)
    return {"benchmark": "spine", "pictures": pictures, "models": len(MODELS), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        print(json.dumps(asyncio.run(measure(Path(work), arguments.pictures))))


if __name__ == "__main__":
    main()
