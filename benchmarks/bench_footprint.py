"""What an idle captionfleet costs: CPU of everything, memory of an agent without copies.

    python -m benchmarks.bench_footprint [--seconds 60]

Prints one JSON line. The anchor is the machine itself: percent of one core.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from benchmarks.fleet import RunningFleet, running_fleet

SHAPES = Path(__file__).parent.parent / "examples" / "shapes"


def cpu_seconds(processes: list[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(each.user + each.system for each in times)


def measure(fleet: RunningFleet, seconds: float) -> dict[str, Any]:
    time.sleep(20)  # let the start settle: the figure is about idling
    everything = [fleet.up, *fleet.up.children(recursive=True)]
    everything += [p for p in fleet.processes("captionfleet_worker") if p not in everything]
    before = {process.pid: cpu_seconds([process]) for process in everything}
    time.sleep(seconds)
    spent = {" ".join(p.cmdline())[-60:]: cpu_seconds([p]) - before[p.pid] for p in everything}
    (agent,) = fleet.processes("captionfleet_worker")
    (api,) = fleet.processes("captionfleet_api")
    return {
        "benchmark": "footprint",
        "idle_percent_of_a_core": round(100 * sum(spent.values()) / seconds, 2),
        "by_process": {name: round(100 * s / seconds, 2) for name, s in spent.items()},
        "agent_without_copies_mb": round(agent.memory_info().rss / 1e6, 1),
        "api_mb": round(api.memory_info().rss / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    models = (SHAPES / "models.yaml").read_text().replace("models/", f"{SHAPES}/models/")
    manifests = models + "\n---\n" + (SHAPES / "pool.yaml").read_text()
    with tempfile.TemporaryDirectory() as work:
        with running_fleet(Path(work) / "fleet", manifests) as fleet:
            figures = measure(fleet, arguments.seconds)
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
