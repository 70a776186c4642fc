"""Thousands of pictures through a whole fleet: does memory stay, and what does the agent cost?

    python -m benchmarks.soak [--tasks 20000]

The model computes nothing, so that everything else is at its busiest. 200 pictures of 100 kB are
asked one prompt after the other, so no answer is known before. Prints one JSON line; exit code 1
if a task was lost, or if agent, engine or api grew in the second half by more than 5 % and 5 MB.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
from benchmarks.fleet import RunningFleet, running_fleet, upload, wait_until_loaded
from benchmarks.no_op import NO_OP, picture_of
from benchmarks.worker.figures import load

_PICTURES = 200
_BYTES = 100_000
_MANIFESTS = """
apiVersion: captionfleet.io/v1alpha1
kind: CaptionWorkerPool
metadata: {name: cpu}
spec:
  device: {type: CPU}
  autoscaling: {minReplicas: 1, maxReplicas: 1}
---
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {name: noop}
spec:
  custom: {entrypoint: "noop:NoOp"}
  batching: {maxBatchSize: 8}
  residency: {policy: Pinned, minCopies: 1, maxCopies: 1}
"""


class Processes:
    """Those whose memory must stay as it is."""

    def __init__(self, fleet: RunningFleet) -> None:
        [self.agent] = fleet.processes("-m captionfleet_worker")
        [api] = fleet.processes("-m captionfleet_api")
        engines = [p for p in self.agent.children() if "captionfleet_worker.engine" in _command(p)]
        self._all = {"agent": self.agent, "engine": engines[0], "api": api}

    def memory(self) -> dict[str, float]:
        """MB that each takes."""
        return {
            name: round(each.memory_info().rss / 1e6, 1) for name, each in self._all.items()
        }  # fmt: skip

    def agent_seconds(self) -> float:
        """CPU that the agent has used."""
        times = self.agent.cpu_times()
        return times.user + times.system


def flat(middle: Mapping[str, float], end: Mapping[str, float]) -> bool:
    """Whether no process grew in the second half: caches and pools have filled before it."""
    return all(end[name] <= max(1.05 * mb, mb + 5) for name, mb in middle.items())


def _command(process: psutil.Process) -> str:
    return " ".join(process.cmdline())


async def soak(fleet: RunningFleet, work: Path, tasks: int) -> dict[str, Any]:
    async with fleet.client() as client:
        await wait_until_loaded(client, {"noop"})
        images = await upload(client, _pictures(work / "pictures"))
        processes = Processes(fleet)
        prompts = [f"number {number}" for number in range(max(1, tasks // _PICTURES))]
        seen = [processes.memory()]
        began, cpu, captioned = time.perf_counter(), processes.agent_seconds(), 0
        for prompt in prompts:
            captioned += await _job(client, images, prompt)
            seen.append(processes.memory())
        seconds = time.perf_counter() - began
        cpu = processes.agent_seconds() - cpu
    asked = len(prompts) * len(images)
    middle, end = seen[len(seen) // 2], seen[-1]
    return {
        "benchmark": "soak", "tasks": asked, "captioned": captioned,
        "memory_mb": {"start": seen[0], "after_a_tenth": seen[max(1, len(prompts) // 10)],
                      "middle": middle, "end": end},
        "flat": flat(middle, end),
        "agent_cpu_ms_per_picture": round(1000 * cpu / asked, 2), "at_most_ms": 1.5,
        "tasks_per_second": round(asked / seconds, 1), "seconds": round(seconds), "load": load(),
    }  # fmt: skip


async def _job(client: httpx.AsyncClient, images: list[dict[str, str]], prompt: str) -> int:
    """How many of its tasks were captioned."""
    asked = {"images": images, "models": ["noop"], "prompts": [prompt]}
    answer = await client.post("/jobs", json=asked)
    answer.raise_for_status()
    job = answer.json()
    while job["state"] == "running":
        await asyncio.sleep(0.1)
        job = (await client.get(f"/jobs/{job['id']}")).json()
    return int(job["counts"]["captioned"])


def _pictures(folder: Path) -> Path:
    folder.mkdir()
    for number in range(_PICTURES):
        (folder / f"{number:04d}.jpg").write_bytes(picture_of(_BYTES, number))
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        with running_fleet(work / "fleet", _MANIFESTS, code=NO_OP) as fleet:
            found = asyncio.run(soak(fleet, work, arguments.tasks))
    print(json.dumps(found))
    return 0 if found["flat"] and found["captioned"] == found["tasks"] else 1


if __name__ == "__main__":
    sys.exit(main())
