"""Chooses the next batch from the tasks a worker holds. Pure: no clock, no waiting."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from captionfleet.messages import TaskMessage


class Waiting(Protocol):
    """A task that was taken and not started."""

    @property
    def number(self) -> int:
        """Place in the order of arrival."""

    @property
    def task(self) -> TaskMessage: ...

    @property
    def alone(self) -> bool:
        """It must not share a batch, for what it might do to others or they to it."""


W = TypeVar("W", bound=Waiting)


def next_batch(waiting: Sequence[W], most: Callable[[Mapping[str, Any]], int]) -> list[W]:
    """The oldest task, with whatever may run beside it: at most `most(options)`, oldest first.

    A batch shares one prompt and one set of options. As the oldest is always in it, none starves.
    """
    if not waiting:
        return []
    in_order = sorted(waiting, key=lambda each: each.number)
    oldest = in_order[0]
    if oldest.alone:
        return [oldest]
    key, size = _key(oldest.task), most(oldest.task.options)
    return [each for each in in_order if not each.alone and _key(each.task) == key][:size]


def _key(task: TaskMessage) -> tuple[str, str]:
    return task.prompt, json.dumps(task.options, sort_keys=True)
