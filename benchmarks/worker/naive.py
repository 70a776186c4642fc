"""Side B of M3: benchmarks/naive_worker.py, fed by the same RabbitMQ."""

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractQueue
from benchmarks.worker.plain import ROOT, quiet
from benchmarks.worker.setting import Setting

from captionfleet.ids import new_nonce
from captionfleet_worker.engine.wording import tidy


@dataclass(frozen=True)
class NaiveWorker:
    channel: AbstractChannel
    name: str
    replies: AbstractQueue
    threads: int
    """As torch tells them."""

    async def run(self, pictures: Sequence[bytes]) -> tuple[float, list[str]]:
        """Seconds, and the captions as an engine tidies them."""
        captions: dict[int, str] = {}
        began = time.perf_counter()
        for number, picture in enumerate(pictures):
            asked = {"id": number, "image": base64.b64encode(picture).decode()}
            body = aio_pika.Message(json.dumps(asked).encode())
            await self.channel.default_exchange.publish(body, self.name)
        async with self.replies.iterator() as messages:
            async for message in messages:
                said = json.loads(message.body)
                captions[said["id"]] = said["caption"]
                await message.ack()
                if len(captions) == len(pictures):
                    break
        return time.perf_counter() - began, [tidy(captions[i]) for i in range(len(pictures))]


@asynccontextmanager
async def naive_worker(url: str, setting: Setting) -> AsyncIterator[NaiveWorker]:
    """Loaded, and waiting for pictures. Its errors go where ours go."""
    name = f"naive-{new_nonce()}"
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    await channel.declare_queue(name, durable=True)
    replies = await channel.declare_queue(f"{name}.replies", durable=True)
    usual = {key: value for key, value in quiet().items() if not key.startswith("OMP_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.naive_worker", url, name, str(setting.weights),
        str(setting.tokens), setting.device, setting.dtype,
        stdout=asyncio.subprocess.PIPE, cwd=ROOT, env=usual,
    )  # fmt: skip
    assert process.stdout
    try:
        ready, _, threads = (await process.stdout.readline()).decode().partition(" ")
        if ready != "ready":
            raise RuntimeError("the naive worker did not start: what it printed tells why")
        yield NaiveWorker(channel, name, replies, int(threads))
    finally:
        with suppress(ProcessLookupError):  # it did not even start
            process.kill()
        await process.wait()
        await connection.close()
