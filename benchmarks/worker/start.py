"""M12: from the assignment of a model to its first caption, and what the fork-server saves.

A picture waits on the broker; the clock starts when a worker that never loaded anything is told to
load. The floor is a bare program that imports the libraries, loads the weights and captions the
same picture. Once as the product is by default, with its own test picture first, and once without.
How long the digest of the weights takes by itself is told: the engine computes it beside the load,
for sources in folders, and is not ready before it has it.
"""

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.bench_throughput import write_pictures
from benchmarks.worker.figures import differing, load, read
from benchmarks.worker.in_process import order_for
from benchmarks.worker.plain import OfflineLoop
from benchmarks.worker.setting import Setting, spec_for
from benchmarks.worker.stage import staged

from captionfleet_worker.engine.weights import folder_digest
from captionfleet_worker.engine_process import EngineProcess
from captionfleet_worker.launching import Launcher

_PARTS = ("bare", "tested", "untested", "digest", "cold", "warm")


async def measure(setting: Setting, broker: str) -> list[dict[str, object]]:
    picture = write_pictures(setting.work / "one", 1, 0, setting.shape.picture_size)
    seconds: dict[str, list[float]] = {part: [] for part in _PARTS}
    for turn in range(1, setting.rounds + 1):
        bare, said = await asyncio.to_thread(_bare, setting, picture)
        seconds["bare"].append(bare)
        for part, tested in (("tested", True), ("untested", False)):
            place = setting.work / f"{part}-{turn}"
            took, caption = await _first_caption(setting, broker, place, picture, tested)
            differing("a bare program", [caption], said, 0)
            seconds[part].append(took)
        seconds["digest"].append(await asyncio.to_thread(_digest, setting.weights))
        cold, warm = await _loads(setting)
        seconds["cold"].append(cold)
        seconds["warm"].append(warm)
    return [
        _line("M12 assignment of a model to its first caption / bare program", seconds,
              "tested", "bare", 1.15),
        _line("M12 the same without the test picture / bare program", seconds,
              "untested", "bare", 1.15),
        _line("M12 digest of the weights, beside the load / the whole start", seconds,
              "digest", "tested", None),
        _line("M12 load with the fork-server warm / cold", seconds, "warm", "cold", 0.1),
    ]  # fmt: skip


def _line(
    metric: str, seconds: dict[str, list[float]], part: str, whole: str, most: float | None
) -> dict[str, object]:
    ratios = [a / b for a, b in zip(seconds[part], seconds[whole], strict=True)]
    return {
        "metric": metric, "pictures": 1, "batches": [1], "at_most": most, "load": load(),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "seconds": {name: round(statistics.median(seconds[name]), 3) for name in (part, whole)},
    }  # fmt: skip


def _bare(setting: Setting, picture: Path) -> tuple[float, list[str]]:
    began = time.perf_counter()
    plain = OfflineLoop(setting.weights, setting.threads)
    _, said = plain.run(picture, 1, setting.tokens)
    took = time.perf_counter() - began
    plain.close()
    return took, said


async def _first_caption(
    setting: Setting, broker: str, place: Path, picture: Path, tested: bool
) -> tuple[float, str]:
    """Seconds and the caption, on a worker of its own."""
    spec: dict[str, Any] = spec_for(setting)
    spec["acceptance"]["smokeTest"] = tested
    async with staged(broker, place, setting.threads) as stage:
        await stage.open("measured")
        [task] = await stage.send("measured", read(picture))
        began = time.perf_counter()
        await stage.load("measured", spec)
        await stage.all_came()
        at, result = stage.came[task]
        return at - began, str(result.text)


def _digest(weights: Path) -> float:
    began = time.perf_counter()
    folder_digest(weights, allow_pickle=False)
    return time.perf_counter() - began


async def _loads(setting: Setting) -> tuple[float, float]:
    """Seconds of the first and of the second load by one worker's launcher."""
    launcher = Launcher()
    try:
        return await _load(setting, launcher), await _load(setting, launcher)
    finally:
        await launcher.stop()


async def _load(setting: Setting, launcher: Launcher) -> float:
    order = order_for(spec_for(setting), setting.work, setting.threads)
    began = time.perf_counter()
    engine = await EngineProcess.start(order, lambda *_: None, launcher.launch)
    took = time.perf_counter() - began
    await engine.stop()
    return took
