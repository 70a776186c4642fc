"""Answers that name places in the picture (Florence-2, Kosmos-2), as the plain text of a caption.

The checkpoints' own post-processing finds the places; a caption keeps the names alone.
"""

import re
from typing import Any

_PLACE = re.compile(r"</?(?:loc_\d+|poly|s|pad)>")


def answer_of_task(processor: Any, written: str, prompt: str, size: tuple[int, int]) -> str:
    """What Florence-2 wrote, special tokens included, about a picture of `size` (width, height)."""
    task = _task_of(prompt)
    kind = processor.tasks_answer_post_processing_type.get(task, "pure_text")
    if kind == "pure_text" or kind not in processor.post_processor.parse_task_config:
        return _PLACE.sub("", written)
    found = processor.post_process_generation(text=written, task=task, image_size=size)
    return _named(found[task])


def _task_of(prompt: str) -> str:
    """The task token that a prompt begins with, or the whole prompt."""
    return prompt[: prompt.find(">") + 1] or prompt


def _named(found: Any) -> str:
    """Of things found in a picture, their names, each once."""
    labels = [label for key, value in found.items() if key.endswith("labels") for label in value]
    return ", ".join(dict.fromkeys(label.strip() for label in labels if label.strip()))


def without_places(processor: Any, written: str) -> str:
    """What Kosmos-2 wrote, without the marks that tie its phrases to places."""
    return str(processor.post_process_generation(written)[0])
