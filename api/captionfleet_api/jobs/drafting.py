"""Drafts of the rows that make a job: which columns, which pictures, which tasks. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captionfleet.ids import new_id
from captionfleet_api.jobs.presets import Prompt
from captionfleet_api.jobs.requests import ImageAsked
from captionfleet_api.store.tables import Lane, Priority, TaskState

LARGEST_INTERACTIVE_JOB = 20
_PRIORITY_NUMBERS = {Priority.INTERACTIVE: 0, Priority.BATCH: 1}


@dataclass(frozen=True)
class ColumnDraft:
    """A column to be; equal questions are one column, whatever their prompts are called."""

    id: str
    position: int
    model: str
    prompt_name: str
    prompt: str
    options: Mapping[str, Any]

    @property
    def question(self) -> tuple[str, str, str]:
        return self.model, self.prompt, json.dumps(self.options, sort_keys=True)


@dataclass(frozen=True)
class StoredPicture:
    """A row of the grid: which picture its tasks show."""

    job_image: str
    picture_sha256: str
    picture_size: int


def draft_columns(
    asked: Mapping[str, Sequence[Prompt]],
    options: Mapping[str, Any],
    known: Iterable[ColumnDraft] = (),
) -> list[ColumnDraft]:
    """The new columns, a model's prompts side by side; those in `known` are left out."""
    drafts = list(known)
    first_new, questions = len(drafts), {draft.question for draft in drafts}
    for model, prompts in asked.items():
        for prompt in prompts:
            draft = ColumnDraft(new_id(), len(drafts), model, prompt.name, prompt.text, options)
            if draft.question not in questions:
                questions.add(draft.question)
                drafts.append(draft)
    return drafts[first_new:]


def draft_pictures(images: Iterable[ImageAsked]) -> list[ImageAsked]:
    """The rows: equal pictures under one name are one row."""
    return list(dict.fromkeys(images))


def draft_priority(asked: str | None, pictures: int) -> Priority:
    if asked:
        return Priority(asked)
    return Priority.INTERACTIVE if pictures <= LARGEST_INTERACTIVE_JOB else Priority.BATCH


def draft_name(asked: str, filenames: Sequence[str]) -> str:
    """For people: the name they gave, else one made of the file names."""
    if asked:
        return asked
    named = [name for name in filenames if name]
    if not named:
        return "1 picture" if len(filenames) == 1 else f"{len(filenames)} pictures"
    more = len(filenames) - 1
    return named[0] if not more else f"{named[0]} and {more} more"


def draft_tasks(
    job: str,
    priority: str,
    pictures: Iterable[StoredPicture],
    columns: Sequence[ColumnDraft],
    change: int,
) -> Iterator[dict[str, Any]]:
    """Rows of the table `tasks`, picture by picture, so that the grid fills from the top."""
    for picture in pictures:
        for column in columns:
            yield {
                "id": new_id(),
                "job": job,
                "column": column.id,
                "job_image": picture.job_image,
                "model": column.model,
                "picture_sha256": picture.picture_sha256,
                "picture_size": picture.picture_size,
                "priority": _PRIORITY_NUMBERS[Priority(priority)],
                "state": TaskState.PENDING,
                "lane": Lane.MODEL,
                "losses": 0,
                "attempts": 0,
                "cached": False,
                "starred": False,
                "changed": change,
            }


ANSWER_FIELDS = ("state", "cached", "caption", "finish", "seconds", "tokens", "revision", "worker",
                 "finished_at")  # fmt: skip
"""What a known answer sets."""
