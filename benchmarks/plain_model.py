"""A checkpoint as a person uses it with transformers alone: both anchors caption with it.

The image processors are the PIL ones, as in the engine: torchvision's scale a little differently,
and other pixels are another question.
"""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)

PROMPT = "describe the picture ."
"""What chat models are asked."""


class PlainModel:
    def __init__(self, weights: str, device: str = "cpu", dtype: str = "float32") -> None:
        self._model = (
            AutoModelForImageTextToText.from_pretrained(weights, dtype=getattr(torch, dtype))
            .eval()
            .to(device)
        )
        self._chats = (Path(weights) / "chat_template.jinja").exists()
        self._processor = _processor(weights, self._chats)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(weights)

    def captions(self, images: list[Image.Image], new_tokens: int) -> list[str]:
        inputs = self._inputs(images).to(self._model.device, self._model.dtype)
        with torch.inference_mode():
            rows = self._model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)
        if self._chats:
            rows = rows[:, inputs["input_ids"].shape[1] :]
        return list(self._tokenizer.batch_decode(rows, skip_special_tokens=True))

    def _inputs(self, images: list[Image.Image]) -> Any:
        if not self._chats:
            return self._processor(images=images, return_tensors="pt")
        parts = [{"type": "image"}, {"type": "text", "text": PROMPT}]
        asked = self._processor.apply_chat_template(
            [{"role": "user", "content": parts}], add_generation_prompt=True
        )
        return self._processor(
            images=[[image] for image in images], text=[asked] * len(images), padding=True,
            return_tensors="pt",
        )  # fmt: skip


def _processor(weights: str, chats: bool) -> Any:
    if not chats:
        return AutoImageProcessor.from_pretrained(weights, backend="pil")
    try:
        processor: Any = AutoProcessor.from_pretrained(weights, backend="pil")
    except ImportError:  # families that also see videos exist for torchvision alone
        processor = AutoProcessor.from_pretrained(weights)
    processor.tokenizer.padding_side = "left"
    return processor
