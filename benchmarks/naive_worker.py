"""The anchor from below: a worker as one writes it first, in a process of its own.

    python -m benchmarks.naive_worker URL NAME WEIGHTS NEW_TOKENS DEVICE DTYPE

Prefetch 1, one picture per generate(), pictures as base64 in JSON, decoded whole, torch's default
threads. Takes from the queue `NAME`, answers to `NAME.replies`; both must be there. Prints `ready`
and torch's threads once it has loaded.
"""

import asyncio
import base64
import io
import json
import sys

import aio_pika
import torch
from benchmarks.plain_model import PlainModel
from PIL import Image


async def serve(url: str, name: str, model: PlainModel, new_tokens: int) -> None:
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    await channel.set_qos(1)
    print("ready", torch.get_num_threads(), flush=True)
    async with (await channel.get_queue(name)).iterator() as messages:
        async for message in messages:
            asked = json.loads(message.body)
            image = Image.open(io.BytesIO(base64.b64decode(asked["image"]))).convert("RGB")
            [caption] = model.captions([image], new_tokens)
            said = {"id": asked["id"], "caption": caption}
            answer = aio_pika.Message(json.dumps(said).encode())
            await channel.default_exchange.publish(answer, f"{name}.replies")
            await message.ack()


def main(url: str, name: str, weights: str, new_tokens: str, device: str, dtype: str) -> None:
    model = PlainModel(weights, device, dtype)
    asyncio.run(serve(url, name, model, int(new_tokens)))


if __name__ == "__main__":
    main(*sys.argv[1:])
