"""Publishes results and acks tasks, in this order: a result is confirmed, then its task acked.

Each answer is a task of its own, so that the next batch runs meanwhile.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from captionfleet.broker.link import Link, NotConfirmed, Unroutable
from captionfleet.broker.names import Names
from captionfleet.faults import fault_point
from captionfleet.messages import Outcome, ResultMessage, TaskMessage
from captionfleet_worker.metrics import Meters
from captionfleet_worker.verdicts import Held, Origin, Verdict, as_result

log = structlog.get_logger()

# A finished caption outlives the session it came by for this long: tokens stay valid, so it
# saves captioning the picture again. The broker redelivers the task anyway.
_OUTLIVES_SESSION_SECONDS = 120.0
_PAUSE_SECONDS = 0.5


class Answers:
    """The answers of one copy that are on their way."""

    def __init__(
        self, link: Link, names: Names, meters: Meters, origin: Origin, done: Callable[[Held], None]
    ) -> None:
        """`done` is called with each task that is answered, or that the broker took back."""
        self._link = link
        self._names = names
        self._meters = meters
        self._origin = origin
        self._done = done
        self._pending: set[asyncio.Task[None]] = set()

    def give(self, held: Held, verdict: Verdict) -> None:
        """Answer one task."""
        self._count(held.task, verdict)
        self._begin(self._answer(held, verdict))

    def drop(self, held: Held) -> None:
        """Nobody waits for its answer: the broker alone is told."""
        self._meters.cancelled.labels(held.task.model).inc()
        self._begin(self._drop(held))

    async def flush(self) -> None:
        """Wait until all are acked. What belongs to a dead session is published all the same."""
        while self._pending:
            await asyncio.wait(self._pending)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _drop(self, held: Held) -> None:
        try:
            await held.delivery.ack()
        finally:
            self._done(held)

    async def _answer(self, held: Held, verdict: Verdict) -> None:
        try:
            if await self._published(held, verdict):
                fault_point("worker: after result, before ack")
                await held.delivery.ack()
        except Exception:
            # Free its place at the broker. Nobody holds it then, so the sweeper releases it again.
            log.exception("task not answered", model=held.task.model, task=held.task.task)
            await held.delivery.ack()
        finally:
            self._done(held)

    async def _published(self, held: Held, verdict: Verdict) -> bool:
        """Publish until confirmed. False if the broker took the task back before."""
        result = as_result(held.task, verdict, self._origin)
        give_up = time.monotonic() + _OUTLIVES_SESSION_SECONDS
        while True:
            try:
                await self._publish(result, held.task.reply_to)
                return True
            except Unroutable:
                self._meters.unroutable.labels(held.task.model).inc()
                log.warning(
                    "result has no taker", model=held.task.model, task=held.task.task,
                    queue=held.task.reply_to,
                )  # fmt: skip
                return True
            except NotConfirmed as error:
                late = not verdict.final or time.monotonic() > give_up
                if late and not held.delivery.alive:
                    return False
                log.info(
                    "result published again", model=held.task.model, task=held.task.task,
                    why=str(error),
                )  # fmt: skip
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _publish(self, result: ResultMessage, reply_to: str) -> None:
        fault_point("worker: before result publish")
        publishing = asyncio.ensure_future(
            self._link.publish(self._names.results, reply_to, result.encode())
        )
        # Two turns of the loop: the frames are queued in one and written in the next.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        fault_point("worker: after result publish, before confirm")
        await publishing

    def _count(self, task: TaskMessage, verdict: Verdict) -> None:
        if not verdict.final:
            self._meters.handed_back.labels(task.model, verdict.outcome.value).inc()
            return
        self._meters.processed.labels(task.model).inc()
        if verdict.outcome == Outcome.FAILED:
            self._meters.errors.labels(task.model).inc()
            log.warning("task failed", model=task.model, task=task.task, code=verdict.error_code)
