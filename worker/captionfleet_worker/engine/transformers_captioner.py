"""Captions with a transformers checkpoint: pictures and prompt in, generate(), words out."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import StoppingCriteria, StoppingCriteriaList

from captionfleet_worker.engine.answering import Caption
from captionfleet_worker.engine.checkpoint import Checkpoint
from captionfleet_worker.engine.families import Family, Words
from captionfleet_worker.engine.generation import Habits, Settled, generate_arguments
from captionfleet_worker.engine.pictures import sufficient_size
from captionfleet_worker.engine.places import answer_of_task, without_places
from captionfleet_worker.engine.wording import (
    echo_length,
    ending,
    tidy,
    with_prefix,
    without_thoughts,
)

Size = tuple[int, int]
_STILL_THINKING = (
    "the model was cut off before it wrote a word of the caption: raise max_new_tokens, or, if it "
    'thinks first, set spec.loader.chatTemplate.enable_thinking to "false"'
)


@dataclass(frozen=True)
class Prepared:
    """A batch in the numbers that its model takes, still in main memory."""

    inputs: dict[str, Any]
    sizes: list[Size]
    prompt: str
    generation: Settled


class _Recall(StoppingCriteria):
    """Ends what is written of pictures that nobody waits for any more, at the next token."""

    def __init__(self, cancelled: Callable[[int], bool], pictures: int) -> None:
        self._cancelled = cancelled
        self._pictures = pictures

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        ended = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        beams = len(input_ids) // self._pictures
        for picture in filter(self._cancelled, range(self._pictures)):
            ended[picture * beams : (picture + 1) * beams] = True
        return ended


class TransformersCaptioner:
    """A Captioner over a Checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._is = checkpoint
        self.enough = sufficient_size(checkpoint.image_processor)
        # A tokenizer refuses to write for one thread while it reads for another.
        self._reader = copy.deepcopy(checkpoint.tokenizer)

    @property
    def habits(self) -> Habits:
        return self._is.recipe.habits

    def prompt_problem(self, prompt: str) -> str | None:
        return self._is.rules.problem(prompt)

    def describe(self, error: BaseException) -> str:
        return f"{type(error).__name__}: {error}"

    def unload(self) -> None:
        """Nothing to do: the process ends and takes everything with it."""

    def prepare(self, images: list[Image.Image], prompt: str, generation: Settled) -> Prepared:
        inputs = self._inputs(images, prompt, generation.system_prompt)
        return Prepared(inputs, [image.size for image in images], prompt, generation)

    @torch.inference_mode()
    def generate(self, prepared: Prepared, cancelled: Callable[[int], bool]) -> list[Caption]:
        inputs, generation = self._on_device(prepared.inputs), prepared.generation
        # BLIP writes into its input_ids: remember what was asked before it does.
        asked = inputs["input_ids"].tolist() if "input_ids" in inputs else None
        if generation.seed is not None:
            torch.manual_seed(generation.seed)
        recall = _Recall(cancelled, len(prepared.sizes))
        rows = self._is.model.generate(
            **inputs, **generate_arguments(generation),
            stopping_criteria=StoppingCriteriaList([recall]),
        ).tolist()  # fmt: skip
        echo = echo_length(rows, asked, self._is.starts)
        thinking = self._is.thoughts.open_after(asked[0] if asked else ())
        return [
            self._worded(row[:echo], row[echo:], prepared, size, thinking)
            for row, size in zip(rows, prepared.sizes, strict=True)
        ]

    def _inputs(self, images: list[Image.Image], prompt: str, system_prompt: str) -> dict[str, Any]:
        family, text = self._is.recipe.family, prompt or self._is.recipe.default_prompt
        if self._is.chat:
            return self._is.chat.inputs(images, text, system_prompt)
        if family is Family.PROMPTED:
            if self._is.model.config.model_type == "paligemma":
                text = self._is.processor.image_token + text
            return self._texted(images, text)
        if family is Family.PLAIN:
            return self._texted(images, self._is.picture + text)
        if family is Family.PREFIXED and text:
            return self._prefixed(images, text)
        # Never an empty text: generate() of BLIP and GIT raises on one.
        return dict(self._is.image_processor(images=images, return_tensors="pt"))

    def _texted(self, images: list[Image.Image], text: str) -> dict[str, Any]:
        texts = [text] * len(images)
        processor = self._is.processor
        return dict(processor(images=images, text=texts, return_tensors="pt", padding=True))

    def _prefixed(self, images: list[Image.Image], text: str) -> dict[str, Any]:
        inputs = self._texted(images, text)
        if self._is.model.config.model_type == "git":
            # Its processor ends the prefix with [SEP], after which GIT begins a new sentence.
            for name in ("input_ids", "attention_mask"):
                inputs[name] = inputs[name][:, :-1]
        return inputs

    def _on_device(self, inputs: dict[str, Any]) -> dict[str, Any]:
        model, moved = self._is.model, {}
        for name, value in inputs.items():
            if name not in self._is.accepted:
                continue
            if isinstance(value, torch.Tensor):
                dtype = model.dtype if value.is_floating_point() else value.dtype
                value = value.to(model.device, dtype)
            moved[name] = value
        return moved

    def _worded(
        self, echo: list[int], written: list[int], prepared: Prepared, size: Size, thinking: bool
    ) -> Caption:
        finish, tokens = ending(written, self._is.ends, prepared.generation.max_new_tokens)
        spoken = self._is.thoughts.spoken(written, thinking)
        text = without_thoughts(self._text(echo, spoken or [], tokens, prepared, size))
        if finish == "length" and not text.strip():
            return Caption("", finish, tokens, _STILL_THINKING)
        return Caption(tidy(text), finish, tokens)

    def _text(
        self, echo: list[int], spoken: list[int], tokens: int, prepared: Prepared, size: Size
    ) -> str:
        recipe, prompt = self._is.recipe, prepared.prompt
        if recipe.words is Words.TASK:
            # Up to its end: places are written by tokens that decoding would leave out.
            told = self._reader.decode(spoken[:tokens], skip_special_tokens=False)
            asked = prompt or recipe.default_prompt
            return answer_of_task(self._is.processor, told, asked, size)
        text = self._decode(spoken)
        if recipe.words is Words.GROUNDED:
            return without_places(self._is.processor, text)
        if prompt and recipe.family in (Family.PREFIXED, Family.PLAIN):
            return with_prefix(prompt, self._decode(echo + spoken), self._decode(echo), text)
        return text

    def _decode(self, ids: list[int]) -> str:
        return str(self._reader.decode(ids, skip_special_tokens=True))
