"""A batch in, one answer per picture out: whatever one picture does, the others get theirs.

Knows no model library; a Captioner does the captioning.
"""

import gc
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from captionfleet.faults import fault_point
from captionfleet.resources.model import Generation
from captionfleet_worker.engine.generation import BadOption, effective_generation
from captionfleet_worker.engine.protocol import Answer, Shot

_SMALLEST_SIDE = 16
_LONGEST_CAPTION = 65_536
_LONGEST_MESSAGE = 2_000


@dataclass(frozen=True)
class Caption:
    """What a model wrote. `finish` and `tokens` as in Answer."""

    text: str
    finish: str | None = None
    tokens: int | None = None


class BadPicture(ValueError):
    """Bytes that are no picture."""


class BadResult(ValueError):
    """The model's code returned something that is no caption."""


class Captioner(Protocol):
    """A loaded model."""

    def prompt_problem(self, prompt: str) -> str | None:
        """Why it cannot be asked this, or None."""
        ...

    def prepare(self, images: list[Image.Image], prompt: str, generation: Generation) -> Any:
        """What generate() takes, of RGB pictures. An empty prompt means the model's own.

        May be called from another thread while generate() runs, so it uses no device.
        """
        ...

    def generate(self, prepared: Any) -> list[Caption]:
        """One caption per picture, in order."""
        ...

    def describe(self, error: BaseException) -> str:
        """An exception of the two in words, with its place if that helps its author."""
        ...

    def unload(self) -> None: ...


@dataclass(frozen=True)
class _Problem:
    """An exception without its traceback, which would keep a failed batch's memory alive."""

    code: str
    message: str


class Answering:
    """Answers batches with one captioner. The batch size shrinks for good when memory is short."""

    def __init__(self, captioner: Captioner, defaults: Generation, max_batch_size: int) -> None:
        self._captioner = captioner
        self._defaults = defaults
        self.max_batch_size = max_batch_size

    def answer(self, shots: Sequence[Shot], options: Mapping[str, Any]) -> list[Answer]:
        """One answer per shot, in order; never raises for what a shot or an option does."""
        try:
            generation = effective_generation(self._defaults, options)
        except BadOption as error:
            return [Answer.failed("bad_option", str(error))] * len(shots)
        return self.answer_with(shots, generation)

    def answer_with(self, shots: Sequence[Shot], generation: Generation) -> list[Answer]:
        answers: dict[int, Answer] = {}
        asked: dict[str, list[int]] = {}
        for place, shot in enumerate(shots):
            prompt = (shot.prompt or self._defaults.prompt).strip()
            if problem := self._captioner.prompt_problem(prompt):
                answers[place] = Answer.failed("bad_prompt", problem)
            else:
                asked.setdefault(prompt, []).append(place)
        for prompt, places in asked.items():
            pictures = [shots[place].picture for place in places]
            found = self._all(pictures, prompt, generation)
            answers |= dict(zip(places, found, strict=True))
        return [answers[place] for place in range(len(shots))]

    def _all(self, pictures: list[bytes], prompt: str, generation: Generation) -> Iterator[Answer]:
        # A seed repeats only what is drawn alone: the same picture must not depend on its mates.
        size = 1 if generation.seed is not None else self.max_batch_size
        for start in range(0, len(pictures), size):
            yield from self._batch(pictures[start : start + size], prompt, generation)

    def _batch(self, pictures: list[bytes], prompt: str, generation: Generation) -> list[Answer]:
        """Caption together; if that fails, in smaller parts, until only the guilty ones fail."""
        try:
            images = [open_picture(picture) for picture in pictures]
            fault_point("engine: in mid-batch")
            prepared = self._captioner.prepare(images, prompt, generation)
            captions = self._captioner.generate(prepared)
            return [_judged(caption) for caption in captions]
        except Exception as error:
            problem = self._problem(error)
        if len(pictures) == 1:
            return [Answer.failed(problem.code, problem.message)]
        part = 1
        if problem.code == "out_of_memory":
            _free_memory()
            part = self.max_batch_size = (len(pictures) + 1) // 2
        return [
            answer
            for start in range(0, len(pictures), part)
            for answer in self._batch(pictures[start : start + part], prompt, generation)
        ]

    def _problem(self, error: Exception) -> _Problem:
        if isinstance(error, BadPicture):
            return _Problem("bad_picture", str(error))
        if isinstance(error, BadResult):
            return _Problem("bad_result", str(error))
        if is_out_of_memory(error):
            told = "not enough memory for this picture alone, even in a batch of one: "
            told += self._captioner.describe(error)
            return _Problem("out_of_memory", told[:_LONGEST_MESSAGE])
        return _Problem("model_error", self._captioner.describe(error)[:_LONGEST_MESSAGE])


def open_picture(picture: bytes) -> Image.Image:
    """The picture as RGB, at least 16 pixels on each side. Raises BadPicture.

    Processors take a height or width of 1 or 3 for the number of color channels.
    """
    try:
        image = Image.open(io.BytesIO(picture)).convert("RGB")
    except Exception as error:  # whatever a decoder raises for broken bytes
        raise BadPicture(f"the picture cannot be decoded ({type(error).__name__})") from None
    if min(image.size) < _SMALLEST_SIDE:
        width, height = (max(_SMALLEST_SIDE, side) for side in image.size)
        image = image.resize((width, height))
    return image


def is_out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's, for each kind of device
        or "can't allocate memory" in text
        or "CUDA out of memory" in text
    )


def _judged(caption: Caption) -> Answer:
    # No database takes NUL or half a surrogate pair, and both come out of broken decoders.
    text = caption.text.replace("\0", "").encode(errors="replace").decode().strip()
    if len(text) > _LONGEST_CAPTION:
        return Answer.failed(
            "bad_result", f"the caption has {len(text)} characters, above {_LONGEST_CAPTION}"
        )
    if not text:
        return Answer.failed("empty_caption", "the model returned an empty caption")
    return Answer(text, caption.finish, caption.tokens, None, None)


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()
