"""A worker on a GPU with one model, against the best plain loop and the naive worker.

Captions are compared in float32 first, with the tolerance of benchmarks/worker: in bfloat16 random
weights leave nearly every caption to rounding, so there it is only told how many differ.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from benchmarks.bench_throughput import write_pictures
from benchmarks.worker.figures import differing, equal_threads, faster, read
from benchmarks.worker.naive import NaiveWorker, naive_worker
from benchmarks.worker.plain import OfflineLoop, best_batch
from benchmarks.worker.rounds import OURS, Rounds, Way
from benchmarks.worker.setting import Setting, spec_for
from benchmarks.worker.stage import Stage, staged

_EXACT = "float32"


@dataclass(frozen=True)
class _Sides:
    """All of them, loaded."""

    stage: Stage
    naive: NaiveWorker
    plain: OfflineLoop

    def ways(self, setting: Setting, best: int) -> dict[str, Way]:
        return {
            "plain": lambda at: asyncio.to_thread(self.plain.run, at, best, setting.tokens),
            OURS: lambda at: self.stage.saturated("measured", read(at)),
            "naive": lambda at: self.naive.run(read(at)),
        }


async def measure(setting: Setting, broker: str) -> dict[str, object]:
    warm = write_pictures(setting.work / "warm", setting.pictures, 0, setting.shape.picture_size)
    batches = setting.shape.batches
    async with _sides(setting, broker, warm) as sides:
        best = await asyncio.to_thread(best_batch, sides.plain, warm, batches, setting.tokens)
        await sides.stage.learned(["measured"], read(warm), batches[-1])
        await sides.naive.run(read(warm)[:2])
        inexact = frozenset({"plain", "naive"} if setting.dtype != _EXACT else ())
        rounds = Rounds(setting, sides.ways(setting, best), may_differ=inexact)
        await rounds.run()
        learned = sides.stage.batch_size("measured")
    seconds, targets = rounds.seconds, setting.shape.targets
    return {
        "device": _device_name(setting.device), "dtype": setting.dtype, **setting.told(),
        "plain_batch": best, "learned_batch": learned, "load": rounds.loads,
        "against_plain": faster("M1", seconds["plain"], seconds[OURS], targets["m1"])
        | rounds.differ("plain"),
        "against_naive": faster("M3", seconds["naive"], seconds[OURS], targets["m3"])
        | rounds.differ("naive"),
        "pictures_per_second": round(setting.pictures / min(seconds[OURS]), 2),
    }  # fmt: skip


@asynccontextmanager
async def _sides(setting: Setting, broker: str, warm: Path) -> AsyncIterator[_Sides]:
    """Raises RuntimeError if they write other captions in float32, or have other threads."""
    async with AsyncExitStack() as stack:
        device = "CPU" if setting.device == "cpu" else "GPU"
        stage = await stack.enter_async_context(
            staged(broker, setting.work / "worker", setting.threads, device=device)
        )
        await _compare(setting, stage, warm)
        await stage.load("measured", spec_for(setting))
        plain = await asyncio.to_thread(
            OfflineLoop, setting.weights, setting.threads, setting.device, setting.dtype
        )
        stack.callback(plain.close)
        naive = await stack.enter_async_context(naive_worker(broker, setting))
        equal_threads({
            "worker": await stage.torch_threads(), "naive": naive.threads, "plain": plain.threads
        })  # fmt: skip
        yield _Sides(stage, naive, plain)


async def _compare(setting: Setting, stage: Stage, pictures: Path) -> None:
    exact = replace(setting, dtype=_EXACT)
    plain = await asyncio.to_thread(
        OfflineLoop, exact.weights, exact.threads, exact.device, exact.dtype
    )
    try:
        _, others = await asyncio.to_thread(plain.run, pictures, 1, exact.tokens)
    finally:
        plain.close()
    await stage.load("exact", spec_for(exact, dtype=_EXACT))
    _, ours = await stage.saturated("exact", read(pictures))
    await stage.unload("exact")
    differing("the plain loop in float32", ours, others, exact.most_differing)


def _device_name(device: str) -> str:
    return "CPU" if device == "cpu" else torch.cuda.get_device_name(0)
