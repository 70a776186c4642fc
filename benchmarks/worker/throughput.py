"""M1, M3 and M5: pictures per second of a worker on a full queue, against four others.

M1 the best plain loop, M3 the naive worker (also with int8 on our side), M5 the same engine fed
without a broker. All sides have the same weights, tokens and threads, run in turn, and must write
the same captions: all but a few, as rounding depends on the size of a batch, and random weights
leave near ties to it. How often they differ is told, for int8 too.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.bench_throughput import OfflineLoop, write_pictures
from benchmarks.worker import in_process
from benchmarks.worker.figures import faster, load, read
from benchmarks.worker.naive import NaiveWorker, naive_worker
from benchmarks.worker.setting import Setting, spec_for
from benchmarks.worker.stage import Stage, staged

from captionfleet_worker.engine_process import EngineProcess


async def measure(setting: Setting, broker: str) -> list[dict[str, object]]:
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(
            staged(broker, setting.work / "worker", setting.threads)
        )
        await stage.load("measured", spec_for(setting))
        await stage.load("int8", spec_for(setting, quantization="int8"))
        naive = await stack.enter_async_context(
            naive_worker(broker, setting.weights, setting.tokens)
        )
        plain = await asyncio.to_thread(OfflineLoop, setting.weights, setting.threads)
        stack.callback(plain.close)
        order = in_process.order_for(spec_for(setting), setting.work, setting.threads)
        engine = await EngineProcess.start(order, lambda *_: None)
        stack.push_async_callback(engine.stop)
        return await _in_turn(setting, _Sides(stage, naive, plain, engine))


Way = Callable[[], Awaitable[tuple[float, list[str]]]]


class _Sides:
    """All of them, warm."""

    def __init__(
        self, stage: Stage, naive: NaiveWorker, plain: OfflineLoop, engine: EngineProcess
    ) -> None:
        self.stage, self.naive, self.plain, self.engine = stage, naive, plain, engine
        self.seconds: dict[str, list[float]] = {
            name: [] for name in ("plain", "worker", "naive", "int8", "fed")
        }
        self.differing = Counter[str]()

    async def round(self, folder: Path, setting: Setting, batch: int, *, backwards: bool) -> None:
        """Each side once over the same pictures. Raises RuntimeError if they say other things."""
        pictures = read(folder)
        size = self.stage.batch_size("measured") or 1
        ways: dict[str, Way] = {
            "plain": lambda: asyncio.to_thread(self.plain.run, folder, batch, setting.tokens),
            "worker": lambda: self.stage.saturated("measured", pictures),
            "naive": lambda: self.naive.run(pictures),
            "fed": lambda: in_process.saturated(self.engine, pictures, size),
            "int8": lambda: self.stage.saturated("int8", pictures),
        }
        said: dict[str, list[str]] = {}
        for side in reversed(ways) if backwards else ways:
            seconds, said[side] = await ways[side]()
            self.seconds[side].append(seconds)
        for side in ("plain", "naive", "fed", "int8"):
            self._compare(side, said["worker"], said[side], setting.most_differing)

    def _compare(self, side: str, ours: list[str], others: list[str], most: int) -> None:
        differing = sum(a != b for a, b in zip(ours, others, strict=True))
        if side != "int8" and differing > most:
            raise RuntimeError(f"{differing} captions of the worker and of {side} differ")
        self.differing[side] += differing


async def _in_turn(setting: Setting, sides: _Sides) -> list[dict[str, object]]:
    warm = write_pictures(setting.work / "warm", setting.pictures, 0, setting.size)
    best = await asyncio.to_thread(best_batch, sides.plain, warm, setting)
    await sides.stage.learned(["measured", "int8"], read(warm))
    await sides.naive.run(read(warm)[:2])
    loads = []
    for turn in range(1, setting.rounds + 1):
        folder = write_pictures(
            setting.work / f"round-{turn}", setting.pictures, turn, setting.size
        )
        # Machines give much at first and less later: nobody shall always come first.
        await sides.round(folder, setting, best, backwards=turn % 2 == 0)
        loads.append(load())
    about = {
        "model": setting.model, "pictures": setting.pictures, "threads": setting.threads,
        "plain_batch": best, "learned_batch": sides.stage.batch_size("measured"), "load": loads,
    }  # fmt: skip
    return [about | line for line in _lines(setting, sides)]


def best_batch(plain: OfflineLoop, pictures: Path, setting: Setting) -> int:
    """With which the plain loop is fastest. The first run of all is not counted."""
    plain.seconds(pictures, setting.sizes[-1], setting.tokens)
    return min(setting.sizes, key=lambda size: plain.seconds(pictures, size, setting.tokens))


def _lines(setting: Setting, sides: _Sides) -> list[dict[str, object]]:
    seconds, target = sides.seconds, setting.targets
    count = setting.pictures * setting.rounds

    def differ(side: str) -> dict[str, object]:
        return {"captions_that_differ": round(sides.differing[side] / count, 3)}

    return [
        faster("M1 worker / best plain loop", seconds["plain"], seconds["worker"], target["m1"])
        | differ("plain"),
        faster("M3 worker / naive worker", seconds["naive"], seconds["worker"], target["m3"])
        | differ("naive"),
        faster("M3 worker with int8 / naive worker", seconds["naive"], seconds["int8"],
               target["m3_int8"]) | differ("int8"),
        faster("M5 through RabbitMQ / from a queue in process", seconds["fed"], seconds["worker"],
               target["m5"]) | differ("fed"),
    ]  # fmt: skip
