"""M6: bytes that a worker takes from the broker, over the bytes of its pictures.

A relay between the two counts them: frames, headers and heartbeats are in it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from benchmarks.no_op import NO_OP, SPEC, picture_of
from benchmarks.worker.setting import Setting
from benchmarks.worker.stage import Stage, staged

_PICTURES = 50


@dataclass
class Relay:
    """Counts what passes."""

    url: str = ""
    to_worker: int = 0
    to_broker: int = 0

    async def join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: tuple[str, int]
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection(*target)
        await asyncio.gather(
            self._pass(reader, far_writer, "to_broker"),
            self._pass(far_reader, writer, "to_worker"),
        )

    async def _pass(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, counted: str
    ) -> None:
        while data := await source.read(1 << 16):
            setattr(self, counted, getattr(self, counted) + len(data))
            target.write(data)
            await target.drain()
        target.close()


@asynccontextmanager
async def relay(url: str) -> AsyncIterator[Relay]:
    """A door to the broker that counts."""
    there = urlsplit(url)
    assert there.hostname and there.port
    target, counting = (there.hostname, there.port), Relay()
    server = await asyncio.start_server(
        lambda reader, writer: counting.join(reader, writer, target), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    address = there.netloc.rpartition(":")[0]
    counting.url = urlunsplit(there._replace(netloc=f"{address}:{port}"))
    yield counting
    server.close()


async def measure(setting: Setting, broker: str) -> list[dict[str, object]]:
    async with relay(broker) as counting:
        folder = setting.work / "worker"
        (folder / "custom_infer").mkdir(parents=True)
        (folder / "custom_infer" / "noop.py").write_text(NO_OP)
        async with staged(broker, folder, setting.threads, counting.url) as stage:
            await stage.load("noop", SPEC)
            return [await _line(f"{size} kB", stage, counting, size) for size in (100, 1000)]


async def _line(name: str, stage: Stage, counting: Relay, kilobytes: int) -> dict[str, object]:
    pictures = [picture_of(kilobytes * 1000, seed) for seed in range(_PICTURES)]
    before = counting.to_worker, counting.to_broker
    await stage.send("noop", pictures)
    await stage.all_came()
    size = sum(map(len, pictures))
    return {
        "metric": f"M6 bytes that reach the worker / bytes of pictures of {name}",
        "ratio": round((counting.to_worker - before[0]) / size, 4), "at_most": 1.01,
        "model": "computes nothing", "pictures": len(pictures), "rounds": 1,
        "batches": [SPEC["batching"]["maxBatchSize"]],
        "bytes_back_per_picture": round((counting.to_broker - before[1]) / len(pictures)),
    }  # fmt: skip
