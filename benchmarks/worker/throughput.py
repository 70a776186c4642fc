"""M1, M3 and M5: pictures per second of a worker on a full queue, against four others.

M1 the best plain loop, M3 the naive worker (also with int8 on our side), M5 the same engine fed
without a broker. All sides have the same weights, tokens and threads, run in turn, and must write
the same captions: all but a few, as rounding depends on the size of a batch, and random weights
leave near ties to it. How often they differ is told, for int8 too.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from benchmarks.bench_throughput import write_pictures
from benchmarks.worker import in_process
from benchmarks.worker.figures import equal_threads, faster, read
from benchmarks.worker.naive import NaiveWorker, naive_worker
from benchmarks.worker.plain import OfflineLoop, best_batch
from benchmarks.worker.rounds import Rounds, Way
from benchmarks.worker.setting import Setting, spec_for
from benchmarks.worker.stage import Stage, staged

from captionfleet_worker.engine_process import EngineProcess

_INT8 = frozenset({"int8"})


@dataclass(frozen=True)
class _Sides:
    """All of them, loaded."""

    stage: Stage
    naive: NaiveWorker
    plain: OfflineLoop
    engine: EngineProcess

    def ways(self, setting: Setting, best: int) -> dict[str, Way]:
        stage = self.stage
        return {
            "plain": lambda at: asyncio.to_thread(self.plain.run, at, best, setting.tokens),
            "worker": lambda at: stage.saturated("measured", read(at)),
            "naive": lambda at: self.naive.run(read(at)),
            "fed": lambda at: in_process.saturated(
                self.engine, read(at), stage.batch_size("measured") or 1
            ),
            "int8": lambda at: stage.saturated("int8", read(at)),
        }


async def measure(setting: Setting, broker: str) -> list[dict[str, object]]:
    warm = write_pictures(setting.work / "warm", setting.pictures, 0, setting.shape.picture_size)
    batches = setting.shape.batches
    async with _sides(setting, broker) as sides:
        best = await asyncio.to_thread(best_batch, sides.plain, warm, batches, setting.tokens)
        await sides.stage.learned(["measured", "int8"], read(warm), batches[-1])
        await sides.naive.run(read(warm)[:2])
        rounds = Rounds(setting, sides.ways(setting, best), may_differ=_INT8)
        await rounds.run()
        about = {
            "plain_batch": best, "learned_batch": sides.stage.batch_size("measured"),
            "int8_batch": sides.stage.batch_size("int8"), "load": rounds.loads,
        }  # fmt: skip
    return [about | line for line in _lines(setting, rounds)]


@asynccontextmanager
async def _sides(setting: Setting, broker: str) -> AsyncIterator[_Sides]:
    """Raises RuntimeError if torch has more threads on one side than on another."""
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(
            staged(broker, setting.work / "worker", setting.threads)
        )
        await stage.load("measured", spec_for(setting))
        await stage.load("int8", spec_for(setting, quantization="int8"))
        naive = await stack.enter_async_context(naive_worker(broker, setting))
        plain = await asyncio.to_thread(OfflineLoop, setting.weights, setting.threads)
        stack.callback(plain.close)
        equal_threads({
            "worker": await stage.torch_threads(), "naive": naive.threads, "plain": plain.threads,
            "fed": await in_process.torch_threads(setting.work, setting.threads),
        })  # fmt: skip
        order = in_process.order_for(spec_for(setting), setting.work, setting.threads)
        engine = await EngineProcess.start(order, lambda *_: None)
        stack.push_async_callback(engine.stop)
        yield _Sides(stage, naive, plain, engine)


def _lines(setting: Setting, rounds: Rounds) -> list[dict[str, object]]:
    seconds, target, differ = rounds.seconds, setting.shape.targets.get, rounds.differ
    return [
        faster("M1 worker / best plain loop", seconds["plain"], seconds["worker"], target("m1"))
        | differ("plain"),
        faster("M3 worker / naive worker", seconds["naive"], seconds["worker"], target("m3"))
        | differ("naive"),
        faster("M3 worker with int8 / naive worker", seconds["naive"], seconds["int8"],
               target("m3_int8")) | differ("int8"),
        faster("M5 through RabbitMQ / from a queue in process", seconds["fed"], seconds["worker"],
               target("m5")) | differ("fed"),
    ]  # fmt: skip
