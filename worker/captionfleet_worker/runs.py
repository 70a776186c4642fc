"""The batches that one engine has and has not answered, in the order in which they were sent.

Its device works on the oldest; those behind it are only prepared. So one clock runs, the oldest's,
and when the engine ends the oldest is the reason.
"""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from captionfleet_worker.engine.protocol import Answer


class NotBegun(Exception):
    """The engine ended over an earlier batch: this one may run on the next engine."""


@dataclass(eq=False)
class Run:
    """One batch. `answers` ends with what became of it."""

    number: int
    pictures: int
    begun: Callable[[], None] = field(repr=False)
    """Called when the device begins with it."""
    answers: asyncio.Future[list[Answer]]


class Runs:
    """See the module. Used within one event loop."""

    def __init__(self, limit: float, late: Callable[[Run], None]) -> None:
        """`late` is called with the oldest run when it has had `limit` seconds.

        Its clock starts when it becomes the oldest, and anew when the device begins with it: a
        batch is given the limit for each, to be prepared and to be captioned.
        """
        self._limit = limit
        self._late = late
        self._numbers = itertools.count(1)
        self._line: dict[int, Run] = {}
        self._clock: asyncio.TimerHandle | None = None

    def add(self, pictures: int, begun: Callable[[], None]) -> Run:
        loop = asyncio.get_running_loop()
        run = Run(next(self._numbers), pictures, begun, loop.create_future())
        self._line[run.number] = run
        if len(self._line) == 1:
            self._start_clock()
        return run

    def begun(self, number: int) -> None:
        """The device has begun with it."""
        self._start_clock()
        if not self._line[number].answers.done():
            self._line[number].begun()

    def answered(self, number: int, answers: list[Answer]) -> None:
        run = self._line.pop(number)
        self._start_clock()
        if not run.answers.done():  # a run whose caller was cancelled leaves its answer to nobody
            run.answers.set_result(answers)

    def end(self, trouble: Exception) -> None:
        """There is no engine any more, because of `trouble`."""
        ended, self._line = list(self._line.values()), {}
        self._stop_clock()
        for place, run in enumerate(ended):
            if not run.answers.done():
                run.answers.set_exception(NotBegun(str(trouble)) if place else trouble)

    def _start_clock(self) -> None:
        self._stop_clock()
        if self._line:
            oldest = next(iter(self._line.values()))
            loop = asyncio.get_running_loop()
            self._clock = loop.call_later(self._limit, self._late, oldest)

    def _stop_clock(self) -> None:
        if self._clock:
            self._clock.cancel()
            self._clock = None
