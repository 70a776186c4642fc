"""The anchor from below: a worker as one writes it first, in a process of its own.

Prefetch 1, one picture per generate(), pictures as base64 in JSON, decoded whole, torch's default
threads. Takes from the queue `NAME`, answers to `NAME.replies`; both must be there.
"""

import asyncio
import base64
import io
import json
import sys
from typing import Any

import aio_pika
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer


def captioner(weights: str, new_tokens: int) -> Any:
    model = AutoModelForImageTextToText.from_pretrained(weights, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(weights, backend="pil")
    tokenizer = AutoTokenizer.from_pretrained(weights)

    def caption(picture: bytes) -> str:
        image = Image.open(io.BytesIO(picture)).convert("RGB")
        inputs = processor(images=image, return_tensors="pt")
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)
        return str(tokenizer.decode(ids[0], skip_special_tokens=True)).strip()

    return caption


async def serve(url: str, name: str, weights: str, new_tokens: int) -> None:
    caption = captioner(weights, new_tokens)
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    await channel.set_qos(1)
    print("ready", flush=True)
    async with (await channel.get_queue(name)).iterator() as messages:
        async for message in messages:
            asked = json.loads(message.body)
            said = {"id": asked["id"], "caption": caption(base64.b64decode(asked["image"]))}
            answer = aio_pika.Message(json.dumps(said).encode())
            await channel.default_exchange.publish(answer, f"{name}.replies")
            await message.ack()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
