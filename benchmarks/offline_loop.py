"""The anchor: the plain loop a person would write with transformers, in a process of its own.

Reads one line per round from stdin, `FOLDER BATCH NEW_TOKENS`, captions every picture in FOLDER,
and prints [seconds, captions] as JSON. Prints `ready` once it has loaded.
"""

import json
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer


def caption_folder(
    model: torch.nn.Module, processor: object, tokenizer: object, folder: Path, batch: int,
    new_tokens: int,
) -> list[str]:  # fmt: skip
    files = sorted(folder.iterdir())
    captions: list[str] = []
    for start in range(0, len(files), batch):
        images = [Image.open(file).convert("RGB") for file in files[start : start + batch]]
        inputs = processor(images=images, return_tensors="pt")  # type: ignore[operator]
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)  # type: ignore[operator]
        captions += tokenizer.batch_decode(ids, skip_special_tokens=True)  # type: ignore[attr-defined]
    return captions


def main(weights: str, threads: int) -> None:
    torch.set_num_threads(threads)
    model = AutoModelForImageTextToText.from_pretrained(weights, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(weights, backend="pil")
    tokenizer = AutoTokenizer.from_pretrained(weights)
    print("ready", flush=True)
    for line in sys.stdin:
        folder, batch, new_tokens = line.split()
        began = time.perf_counter()
        captions = caption_folder(
            model, processor, tokenizer, Path(folder), int(batch), int(new_tokens)
        )
        print(json.dumps([time.perf_counter() - began, captions]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
