"""An engine fed from a queue in this process: what the worker would be without a broker."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.no_op import picture_of
from benchmarks.worker.threads import THREADS

from captionfleet.resources.model import ModelSpec
from captionfleet_worker.engine_process import EngineOrder, EngineProcess, Shot


def order_for(spec: Mapping[str, Any], place: Path, threads: int) -> EngineOrder:
    return EngineOrder(
        model="measured", spec=ModelSpec.model_validate(spec), device="cpu", threads=threads,
        custom_infer=place, cache=None, rooms=place / "rooms", log_file=place / "engine.log",
    )  # fmt: skip


async def _captioned(engine: EngineProcess, pictures: Sequence[bytes], size: int) -> list[str]:
    """Two batches in flight as a consumer has them."""
    waiting = deque(Shot(each, "") for each in pictures)
    flights: deque[asyncio.Task[Any]] = deque()
    captions: list[str] = []
    while waiting or flights:
        while waiting and len(flights) < 2:
            shots = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            flights.append(asyncio.create_task(engine.run(shots, {})))
        captions += [str(answer.text).strip() for answer in await flights.popleft()]
    return captions


async def saturated(
    engine: EngineProcess, pictures: Sequence[bytes], size: int
) -> tuple[float, list[str]]:
    """Seconds and captions, from a queue that is never empty: one picture goes ahead, as in
    Stage.saturated()."""
    ahead = asyncio.create_task(engine.run([Shot(pictures[0], "")], {}))
    await asyncio.sleep(0)
    rest = asyncio.create_task(_captioned(engine, pictures, size))
    await ahead
    began = time.perf_counter()
    captions = await rest
    return time.perf_counter() - began, captions


async def torch_threads(place: Path, threads: int) -> int:
    """How many threads torch has in an engine that is told these."""
    engine = await EngineProcess.start(order_for(THREADS, place, threads), lambda *_: None)
    [answer] = await engine.run([Shot(picture_of(1000, 0), "")], {})
    await engine.stop()
    return int(str(answer.text))
