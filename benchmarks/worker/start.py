"""M12: from the order to load a model to its first caption, and what the fork-server saves.

The floor is a bare program that imports the libraries, loads the weights and captions one picture.
"""

import asyncio
import statistics
import time
from pathlib import Path

from benchmarks.bench_throughput import OfflineLoop, write_pictures
from benchmarks.worker.figures import load, read
from benchmarks.worker.in_process import order_for
from benchmarks.worker.setting import Setting, spec_for

from captionfleet_worker.engine_process import EngineProcess, Shot
from captionfleet_worker.launching import Launch, Launcher, launch_alone


async def measure(setting: Setting, broker: str) -> list[dict[str, object]]:
    """The broker is not needed."""
    picture = write_pictures(setting.work / "one", 1, 0, setting.size)
    launcher = Launcher()
    floor, cold, warm = list[float](), list[float](), list[float]()
    try:
        await launcher.warm_up(order_for(spec_for(setting), setting.work, setting.threads))
        await launcher.warmth()
        for _ in range(setting.rounds):
            floor.append(await asyncio.to_thread(_bare, setting, picture))
            cold.append(await _first_answer(setting, picture, launch_alone))
            warm.append(await _load(setting, launcher.launch))
            cold_load = await _load(setting, launch_alone)
            warm[-1] /= cold_load
    finally:
        await launcher.stop()
    return [
        {
            "metric": "M12 start of a model to its first caption / bare program",
            "model": setting.model, "at_most": 1.15, "load": load(),
            "ratio": round(statistics.median(c / f for c, f in zip(cold, floor, strict=True)), 3),
            "seconds": round(statistics.median(cold), 2),
            "bare_seconds": round(statistics.median(floor), 2),
        },
        {
            "metric": "M12 load with the fork-server warm / as a new process",
            "model": setting.model, "at_most": 0.1, "load": load(),
            "ratio": round(statistics.median(warm), 3),
            "ratios": [round(ratio, 3) for ratio in warm],
        },
    ]  # fmt: skip


def _bare(setting: Setting, picture: Path) -> float:
    began = time.perf_counter()
    plain = OfflineLoop(setting.weights, setting.threads)
    plain.seconds(picture, 1, setting.tokens)
    took = time.perf_counter() - began
    plain.close()
    return took


async def _first_answer(setting: Setting, picture: Path, launch: Launch) -> float:
    began = time.perf_counter()
    engine = await _start(setting, launch)
    await engine.run([Shot(each, "") for each in read(picture)], {})
    took = time.perf_counter() - began
    await engine.stop()
    return took


async def _load(setting: Setting, launch: Launch) -> float:
    began = time.perf_counter()
    engine = await _start(setting, launch)
    took = time.perf_counter() - began
    await engine.stop()
    return took


async def _start(setting: Setting, launch: Launch) -> EngineProcess:
    order = order_for(spec_for(setting), setting.work, setting.threads)
    return await EngineProcess.start(order, lambda *_: None, launch)
