"""What is missing: which pictures still need which columns, and the jobs to ask for them. Pure.

A picture is known by (image id, file name), a column by (model, prompt).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from captionfleet.client import Prompt, Uploaded

PICTURES_PER_JOB = 5000
"""A larger submission becomes several jobs of one name, so that captioning begins while the rest
is still being sent, and no list of pictures outgrows memory."""

Column = tuple[str, str]
"""(model, prompt); the empty prompt is the model's own."""


class Coverage:
    """Which cells the server has, or is about to have."""

    def __init__(self, wanted: Iterable[Column]) -> None:
        self._wanted = tuple(dict.fromkeys(wanted))
        self._bits: dict[tuple[str, str], int] = {}

    def add(self, image: str, filename: str, column: Column) -> None:
        if column in self._wanted:
            key = (image, filename)
            self._bits[key] = self._bits.get(key, 0) | 1 << self._wanted.index(column)

    def missing(self, image: str, filename: str) -> tuple[Column, ...]:
        have = self._bits.get((image, filename), 0)
        return tuple(c for bit, c in enumerate(self._wanted) if not have >> bit & 1)


@dataclass(frozen=True)
class Order:
    """One job to create: every model with every prompt."""

    models: tuple[str, ...]
    prompts: tuple[Prompt, ...]


def orders(columns: Sequence[Column], presets: Mapping[Column, str]) -> list[Order]:
    """The fewest jobs, of the kind models x prompts, that give exactly these columns. Those in
    `presets` are asked for by that name, under which each model has a text of its own."""
    models_of: dict[Prompt, list[str]] = {}
    for column in columns:
        model, text = column
        name = presets.get(column)
        models_of.setdefault(Prompt(name=name) if name else Prompt(text=text), []).append(model)
    prompts_of: dict[tuple[str, ...], list[Prompt]] = {}
    for prompt, models in models_of.items():
        prompts_of.setdefault(tuple(models), []).append(prompt)
    return [Order(models, tuple(prompts)) for models, prompts in prompts_of.items()]


class Batches:
    """Gathers pictures that miss the same columns into jobs of a bounded size."""

    def __init__(self, limit: int = PICTURES_PER_JOB) -> None:
        self._limit = limit
        self._waiting: dict[tuple[Column, ...], list[Uploaded]] = {}

    def add(
        self, picture: Uploaded, missing: tuple[Column, ...]
    ) -> tuple[tuple[Column, ...], list[Uploaded]] | None:
        """The batch that this picture makes full, if it does."""
        batch = self._waiting.setdefault(missing, [])
        batch.append(picture)
        return (missing, self._waiting.pop(missing)) if len(batch) >= self._limit else None

    def rest(self) -> Iterator[tuple[tuple[Column, ...], list[Uploaded]]]:
        yield from self._waiting.items()
