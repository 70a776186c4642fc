"""M2: photos of 12 megapixels, against what the model and the decoder allow one by one.

The limit is the lower of two rates: the plain loop's with its best batch and pictures that are
small already, and the decoder's on every core with nothing beside it. Where both need the same
cores it cannot be reached. The captions must be those of the plain loop on the photos, which
decodes them whole: all but a tenth, as the worker decodes them at a part of their size.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.bench_throughput import write_pictures
from benchmarks.worker.figures import differing, equal_threads, load, read
from benchmarks.worker.plain import OfflineLoop, best_batch
from benchmarks.worker.rounds import Way
from benchmarks.worker.setting import Setting, spec_for
from benchmarks.worker.stage import Stage, staged
from PIL import Image

from captionfleet_worker.engine.pictures import open_pictures

_PHOTO = (4000, 3000)
_ENOUGH = {"blip-base": (384, 384), "tiny": (96, 96)}


def write_photos(folder: Path, count: int, seed: int) -> Path:
    """JPEGs of 12 megapixels with detail in them."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for number in range(count):
        rough = Image.fromarray(random.integers(0, 255, (375, 500, 3), dtype=np.uint8))
        photo = rough.resize(_PHOTO, Image.Resampling.BICUBIC)
        photo.save(folder / f"{number:04d}.jpg", quality=90)
    return folder


@dataclass(frozen=True)
class _Round:
    seconds: dict[str, float]
    """For the same number of pictures, by what was done with them."""
    differed: int
    """Captions of the photos that the plain loop wrote otherwise."""

    @property
    def share(self) -> float:
        return max(self.seconds["decoding"], self.seconds["model"]) / self.seconds["worker"]


async def measure(setting: Setting, broker: str) -> list[dict[str, object]]:
    shape = setting.shape
    small = write_pictures(setting.work / "small", setting.pictures, 0, shape.picture_size)
    async with _sides(setting, broker) as (stage, plain):
        best = await asyncio.to_thread(best_batch, plain, small, shape.batches, setting.tokens)
        await stage.learned(["measured"], read(small), shape.batches[-1])
        ways: dict[str, Way] = {
            "model": lambda _: asyncio.to_thread(plain.run, small, best, setting.tokens),
            "worker": lambda photos: stage.saturated("measured", read(photos)),
            "plain": lambda photos: asyncio.to_thread(plain.run, photos, best, setting.tokens),
        }
        rounds, size = list[_Round](), 0
        for turn in range(1, setting.rounds + 1):
            photos = write_photos(setting.work / f"photos-{turn}", setting.pictures, turn)
            size = sum(map(len, read(photos))) // setting.pictures
            rounds.append(await _round(setting, ways, photos, backwards=turn % 2 == 0))
        learned = stage.batch_size("measured")
    return [{
        "metric": "M2 worker on photos / min(model limit, decode limit)",
        "ratio": round(statistics.median(each.share for each in rounds), 3),
        "at_least": shape.targets.get("m2"), "ratios": [round(each.share, 3) for each in rounds],
        "plain_batch": best, "learned_batch": learned, "load": load(), "bytes_each": size,
        "captions_that_differ": round(
            sum(each.differed for each in rounds) / (setting.pictures * setting.rounds), 3
        ),
        "seconds": [{way: round(s, 2) for way, s in each.seconds.items()} for each in rounds],
    }]  # fmt: skip


@asynccontextmanager
async def _sides(setting: Setting, broker: str) -> AsyncIterator[tuple[Stage, OfflineLoop]]:
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(
            staged(broker, setting.work / "worker", setting.threads)
        )
        await stage.load("measured", spec_for(setting))
        plain = await asyncio.to_thread(OfflineLoop, setting.weights, setting.threads)
        stack.callback(plain.close)
        equal_threads({"worker": await stage.torch_threads(), "plain": plain.threads})
        yield stage, plain


async def _round(
    setting: Setting, ways: dict[str, Way], photos: Path, *, backwards: bool
) -> _Round:
    seconds = {"decoding": await asyncio.to_thread(_decoding, read(photos), setting)}
    said: dict[str, list[str]] = {}
    # Machines give much at first and less later: nobody shall always come first.
    for way in reversed(ways) if backwards else ways:
        seconds[way], said[way] = await ways[way](photos)
    differed = differing("the plain loop", said["worker"], said["plain"], setting.pictures // 10)
    return _Round(seconds, differed)


def _decoding(photos: Sequence[bytes], setting: Setting) -> float:
    """Seconds for all of them on all cores."""
    began = time.perf_counter()
    with ThreadPoolExecutor(setting.threads) as decoders:
        open_pictures(photos, _ENOUGH[setting.model], decoders)
    return time.perf_counter() - began
