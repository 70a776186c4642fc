"""A batch in, one answer per picture out: whatever one picture does, the others get theirs.

Knows no model library; a Captioner does the captioning.
"""

import gc
import logging
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

from PIL import Image

from captionfleet.faults import fault_point
from captionfleet.resources.model import Generation
from captionfleet_worker.engine.generation import (
    BadOption,
    Habits,
    Settled,
    effective_generation,
    settled,
)
from captionfleet_worker.engine.pictures import BadPicture, open_pictures
from captionfleet_worker.engine.protocol import CANCELLED, Answer, Shot

log = logging.getLogger(__name__)

IN_PARTS = "captioned in smaller parts after a failed batch of"
"""In the log: every picture may have its caption, and yet the model's batches do not work."""
_CANCELLED = Answer("", CANCELLED, None, None, None)
_SHORT_OF_MEMORY = (
    "can't allocate memory", "CUDA out of memory", "can't start new thread", "std::bad_alloc",
)  # fmt: skip
_LONGEST_CAPTION = 65_536
_LONGEST_MESSAGE = 2_000


@dataclass(frozen=True)
class Caption:
    """What a model wrote. `finish` and `tokens` as in Answer."""

    text: str
    finish: str | None = None
    tokens: int | None = None
    problem: str = "the model returned an empty caption"
    """Told if there is no text."""


class BadResult(ValueError):
    """The model's code returned something that is no caption."""


class Captioner(Protocol):
    """A loaded model."""

    @property
    def habits(self) -> Habits:
        """What it does where its manifest says nothing."""
        ...

    @property
    def enough(self) -> tuple[int, int] | None:
        """Width and height to which it scales every larger picture down; None if it does not."""
        ...

    def prompt_problem(self, prompt: str) -> str | None:
        """Why it cannot be asked this, or None."""
        ...

    def prepare(self, images: list[Image.Image], prompt: str, generation: Settled) -> Any:
        """What generate() takes, of RGB pictures. An empty prompt means the model's own.

        May be called from another thread while generate() runs, so it uses no device.
        """
        ...

    def generate(self, prepared: Any, cancelled: Callable[[int], bool]) -> list[Caption]:
        """One caption per picture, in order. What stands for a cancelled one does not matter:
        nobody waits for it, which may become so meanwhile."""
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


@dataclass(frozen=True)
class _Part:
    """Pictures that share one call of the model, and their places in the batch."""

    places: list[int]
    shots: list[Shot]
    prompt: str
    """Of all of them."""
    generation: Settled
    inputs: Any = None
    """What the captioner prepared; None if it could not."""
    problem: _Problem | None = None
    """Why it could not."""

    def cut(self, size: int) -> Iterator["_Part"]:
        for start in range(0, len(self.places), size):
            end = start + size
            places, shots = self.places[start:end], self.shots[start:end]
            yield _Part(places, shots, self.prompt, self.generation)


@dataclass(frozen=True)
class Batch:
    """Shots on their way: refused already, or prepared for the device."""

    refused: dict[int, Answer]
    """By place."""
    parts: list[_Part]


class Answering:
    """Answers batches with one captioner. The batch size shrinks for good when memory is short.

    prepare() may run in one thread while finish(), which drives the device, runs in another.
    """

    def __init__(
        self,
        captioner: Captioner,
        stated: Generation,
        max_batch_size: int,
        threads: int = 1,
        seek_memory: Callable[[], None] | None = None,
    ) -> None:
        """`stated` is what the manifest says; `threads` decode pictures; `seek_memory` is called
        when memory was short, before one picture alone is tried again. Raises LoadFailed if the
        manifest contradicts itself."""
        self._captioner = captioner
        self.defaults = settled(stated, captioner.habits)
        self.max_batch_size = max_batch_size
        self._seek_memory = seek_memory
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="decoder")

    def answer(self, shots: Sequence[Shot], options: Mapping[str, Any]) -> list[Answer]:
        """One answer per shot, in order; never raises for what a shot or an option does."""
        return self.finish(self.prepare(shots, options))

    def answer_with(self, shots: Sequence[Shot], generation: Settled) -> list[Answer]:
        return self.finish(self._prepare(shots, generation))

    def prepare(self, shots: Sequence[Shot], options: Mapping[str, Any]) -> Batch:
        """All that needs no device. Never raises for what a shot or an option does."""
        try:
            return self._prepare(shots, effective_generation(self.defaults, options))
        except BadOption as error:
            answer = Answer.failed("bad_option", str(error))
            return Batch(dict.fromkeys(range(len(shots)), answer), [])

    def finish(self, batch: Batch, cancelled: Container[str] = ()) -> list[Answer]:
        """One answer per shot, in order. `cancelled` are tokens; another thread may add some."""
        answers = dict(batch.refused)
        for part in batch.parts:
            answers |= dict(zip(part.places, self._captioned(part, cancelled), strict=True))
        return [answers[place] for place in range(len(answers))]

    def _prepare(self, shots: Sequence[Shot], generation: Settled) -> Batch:
        refused: dict[int, Answer] = {}
        asked: dict[str, list[int]] = {}
        for place, shot in enumerate(shots):
            prompt = (shot.prompt or self.defaults.prompt).strip()
            if problem := self._captioner.prompt_problem(prompt):
                refused[place] = Answer.failed("bad_prompt", problem)
            else:
                asked.setdefault(prompt, []).append(place)
        # A seed repeats only what is drawn alone: the same picture must not depend on its mates.
        size = 1 if generation.seed is not None else self.max_batch_size
        parts: list[_Part] = []
        for prompt, places in asked.items():
            whole = _Part(places, [shots[at] for at in places], prompt, generation)
            parts += [self._prepared(part) for part in whole.cut(size)]
        return Batch(refused, parts)

    def _prepared(self, part: _Part) -> _Part:
        captioner = self._captioner
        try:
            pictures = [shot.picture for shot in part.shots]
            images = open_pictures(pictures, captioner.enough, self._decoders)
            return replace(part, inputs=captioner.prepare(images, part.prompt, part.generation))
        except Exception as error:
            return replace(part, problem=self._problem(error))

    def _captioned(self, part: _Part, cancelled: Container[str]) -> list[Answer]:
        """Caption together; if that fails, in smaller parts, until only the guilty ones fail."""
        count = len(part.shots)
        if count > self.max_batch_size:  # prepared before memory was found to be short
            return self._in_parts(part, self.max_batch_size, cancelled)
        outcome = self._tried(part, cancelled)
        if not isinstance(outcome, _Problem):
            return outcome
        if count == 1:
            return [self._alone(part, outcome, cancelled)]
        log.warning("%s %d: %s", IN_PARTS, count, outcome.message)
        if outcome.code != "out_of_memory":
            return self._in_parts(part, 1, cancelled)
        _free_memory()
        self.max_batch_size = (count + 1) // 2
        return self._in_parts(part, self.max_batch_size, cancelled)

    def _alone(self, part: _Part, first: _Problem, cancelled: Container[str]) -> Answer:
        """The answer to a picture that failed; if for want of memory, after another try: others may
        have left some, and the answer is final."""
        outcome: list[Answer] | _Problem = first
        if first.code == "out_of_memory" and self._seek_memory:
            _free_memory()
            self._seek_memory()
            [again] = part.cut(1)
            outcome = self._tried(self._prepared(again), cancelled)
        if isinstance(outcome, _Problem):
            return Answer.failed(outcome.code, outcome.message)
        return outcome[0]

    def _in_parts(self, part: _Part, size: int, cancelled: Container[str]) -> list[Answer]:
        return [
            answer
            for smaller in part.cut(size)
            for answer in self._captioned(self._prepared(smaller), cancelled)
        ]

    def _tried(self, part: _Part, cancelled: Container[str]) -> list[Answer] | _Problem:
        def gone(place: int) -> bool:
            return part.shots[place].token in cancelled

        if all(map(gone, range(len(part.shots)))):
            return [_CANCELLED] * len(part.shots)
        if part.problem:
            return part.problem
        try:
            fault_point("engine: in mid-batch")
            captions = self._captioner.generate(part.inputs, gone)
            return [_CANCELLED if gone(at) else _judged(each) for at, each in enumerate(captions)]
        except Exception as error:
            return self._problem(error)

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


def is_out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's, for each kind of device
        or any(words in text for words in _SHORT_OF_MEMORY)
        or text == "could not create a primitive"  # oneDNN; of a descriptor it means otherwise
    )


def _judged(caption: Caption) -> Answer:
    # No database takes NUL or half a surrogate pair, and both come out of broken decoders.
    text = caption.text.replace("\0", "").encode(errors="replace").decode().strip()
    if len(text) > _LONGEST_CAPTION:
        return Answer.failed(
            "bad_result", f"the caption has {len(text)} characters, above {_LONGEST_CAPTION}"
        )
    if not text:
        return Answer.failed("empty_caption", caption.problem)
    return Answer(text, caption.finish, caption.tokens, None, None)


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()
