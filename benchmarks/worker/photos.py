"""M2: photos of 12 megapixels, against what the model and the decoder allow one by one.

The limit is the lower of two rates: the engine with pictures that are small already, and the
decoder on every core with nothing beside it. Where both need the same cores it cannot be reached.
"""

import asyncio
import io
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from benchmarks.bench_throughput import write_pictures
from benchmarks.worker.figures import load, read
from benchmarks.worker.setting import Setting, spec_for
from benchmarks.worker.stage import staged
from PIL import Image

from captionfleet_worker.engine.pictures import open_pictures

_PHOTO = (4000, 3000)
_ENOUGH = {"blip-base": (384, 384), "tiny": (96, 96)}


def write_photos(folder: Path, count: int, seed: int) -> list[bytes]:
    """JPEGs of 12 megapixels with detail in them."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    photos = []
    for _ in range(count):
        rough = Image.fromarray(random.integers(0, 255, (375, 500, 3), dtype=np.uint8))
        file = io.BytesIO()
        rough.resize(_PHOTO, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        photos.append(file.getvalue())
    return photos


async def measure(setting: Setting, broker: str) -> list[dict[str, object]]:
    count = setting.pictures
    async with staged(broker, setting.work / "worker", setting.threads) as stage:
        await stage.load("measured", spec_for(setting))
        small = read(write_pictures(setting.work / "warm", count, 0, setting.size))
        await stage.learned(["measured"], small)
        shares, rounds, size = [], [], 0
        for turn in range(1, setting.rounds + 1):
            photos = write_photos(setting.work / f"photos-{turn}", count, turn)
            size = sum(map(len, photos)) // count
            decoding = await asyncio.to_thread(_decoding, photos, setting)
            model, _ = await stage.saturated("measured", small)
            both, _ = await stage.saturated("measured", photos)
            shares.append(max(decoding, model) / both)
            rounds.append({"model": model, "decoding": decoding, "both": both})
    return [{
        "metric": "M2 worker on photos / min(model limit, decode limit)", "model": setting.model,
        "ratio": round(statistics.median(shares), 3), "at_least": setting.targets["m2"],
        "ratios": [round(share, 3) for share in shares], "load": load(), "bytes_each": size,
        "pictures": count,
        "seconds": [{name: round(s, 2) for name, s in each.items()} for each in rounds],
    }]  # fmt: skip


def _decoding(photos: list[bytes], setting: Setting) -> float:
    """Seconds for all of them on all cores."""
    began = time.perf_counter()
    with ThreadPoolExecutor(setting.threads) as decoders:
        open_pictures(photos, _ENOUGH[setting.model], decoders)
    return time.perf_counter() - began
