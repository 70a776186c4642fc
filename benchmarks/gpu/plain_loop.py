"""The anchor on a GPU: the plain loop over any of the checkpoints, in a process of its own.

Reads `FOLDER BATCH NEW_TOKENS` per line from stdin and answers `[seconds, captions]`
as JSON, as benchmarks/offline_loop.py does; `ready` once it has loaded.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

PROMPT = "describe the picture ."


def _inputs(processor: Any, images: list[Image.Image]) -> Any:
    if not processor.chat_template:
        return processor(images=images, return_tensors="pt")
    parts = [{"type": "image"}, {"type": "text", "text": PROMPT}]
    asked = processor.apply_chat_template(
        [{"role": "user", "content": parts}], add_generation_prompt=True
    )
    return processor(
        images=[[image] for image in images], text=[asked] * len(images), padding=True,
        return_tensors="pt",
    )  # fmt: skip


def caption_folder(
    model: Any, processor: Any, folder: Path, batch: int, new_tokens: int
) -> list[str]:
    files, captions = sorted(folder.iterdir()), list[str]()
    for start in range(0, len(files), batch):
        images = [Image.open(file).convert("RGB") for file in files[start : start + batch]]
        inputs = _inputs(processor, images).to(model.device, model.dtype)
        with torch.inference_mode():
            rows = model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)
        if processor.chat_template:
            rows = rows[:, inputs["input_ids"].shape[1] :]
        captions += processor.batch_decode(rows, skip_special_tokens=True)
    return captions


def main(weights: str, device: str) -> None:
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    model = AutoModelForImageTextToText.from_pretrained(weights, dtype=dtype).eval().to(device)
    processor: Any = AutoProcessor.from_pretrained(weights)
    processor.tokenizer.padding_side = "left"
    print("ready", flush=True)
    for line in sys.stdin:
        folder, batch, new_tokens = line.split()
        began = time.perf_counter()
        captions = caption_folder(model, processor, Path(folder), int(batch), int(new_tokens))
        print(json.dumps([time.perf_counter() - began, captions]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
