"""An engine fed from a queue in this process: what the worker would be without a broker."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captionfleet.resources.model import ModelSpec
from captionfleet_worker.engine_process import EngineOrder, EngineProcess, Shot


def order_for(
    spec: Mapping[str, Any], place: Path, threads: int, device: str = "cpu"
) -> EngineOrder:
    return EngineOrder(
        model="measured", spec=ModelSpec.model_validate(spec), device=device, threads=threads,
        custom_infer=place, cache=None, rooms=place / "rooms", log_file=place / "engine.log",
    )  # fmt: skip


async def captioned(
    engine: EngineProcess, pictures: Sequence[bytes], size: int, prompt: str = ""
) -> tuple[float, list[str]]:
    """Seconds and captions, two batches in flight as a consumer has them."""
    waiting = deque(Shot(each, prompt) for each in pictures)
    flights: deque[asyncio.Task[Any]] = deque()
    captions: list[str] = []
    began = time.perf_counter()
    while waiting or flights:
        while waiting and len(flights) < 2:
            shots = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            flights.append(asyncio.create_task(engine.run(shots, {})))
        captions += [str(answer.text).strip() for answer in await flights.popleft()]
    return time.perf_counter() - began, captions


async def saturated(
    engine: EngineProcess, pictures: Sequence[bytes], size: int
) -> tuple[float, list[str]]:
    """The same from a queue that is never empty: one picture goes ahead, as Stage.saturated()."""
    ahead = asyncio.create_task(engine.run([Shot(pictures[0], "")], {}))
    await asyncio.sleep(0)
    rest = asyncio.create_task(captioned(engine, pictures, size))
    await ahead
    began = time.perf_counter()
    _, captions = await rest
    return time.perf_counter() - began, captions
