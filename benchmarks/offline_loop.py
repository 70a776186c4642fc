"""The anchor: the plain loop a person would write with transformers, in a process of its own.

    python -m benchmarks.offline_loop WEIGHTS THREADS DEVICE DTYPE

Reads one line per round from stdin, `FOLDER BATCH NEW_TOKENS`, captions every picture in FOLDER,
and prints [seconds, captions] as JSON. Prints `ready` and torch's threads once it has loaded.
"""

import json
import sys
import time
from pathlib import Path

import torch
from benchmarks.plain_model import PlainModel
from PIL import Image


def caption_folder(model: PlainModel, folder: Path, batch: int, new_tokens: int) -> list[str]:
    files = sorted(folder.iterdir())
    captions: list[str] = []
    for start in range(0, len(files), batch):
        images = [Image.open(file).convert("RGB") for file in files[start : start + batch]]
        captions += model.captions(images, new_tokens)
    return captions


def main(weights: str, threads: int, device: str, dtype: str) -> None:
    torch.set_num_threads(threads)
    model = PlainModel(weights, device, dtype)
    print("ready", torch.get_num_threads(), flush=True)
    for line in sys.stdin:
        folder, batch, new_tokens = line.split()
        began = time.perf_counter()
        captions = caption_folder(model, Path(folder), int(batch), int(new_tokens))
        print(json.dumps([time.perf_counter() - began, captions]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
