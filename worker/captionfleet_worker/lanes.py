"""The two consumers of one model, in the broker session of the moment."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from captionfleet.broker.link import Consumer, Delivery, QueueMissing, Session
from captionfleet.broker.names import Names
from captionfleet_worker.verdicts import Lane


class Lanes:
    """Opens a consumer per lane; pauses and resumes both without losing what was delivered."""

    def __init__(
        self,
        names: Names,
        model: str,
        prefetch: Callable[[], int],
        take: Callable[[Lane, Delivery], Awaitable[None]],
    ) -> None:
        """`prefetch` is asked when the model's lane is opened; the suspect lane hands out one task
        at a time."""
        self._queues: dict[Lane, tuple[str, Callable[[], int]]] = {
            Lane.MODEL: (names.model_queue(model), prefetch),
            Lane.SUSPECT: (names.suspect_queue(model), lambda: 1),
        }
        self._take = take
        self._session: Session | None = None
        self._consumers: list[Consumer] = []
        self._paused = False
        self._one_at_a_time = asyncio.Lock()

    @property
    def consuming(self) -> bool:
        return self._intact() and not self._paused

    async def open(self, session: Session) -> None:
        """Consume in this session, unless paused. Raises QueueMissing if a queue is not there."""
        async with self._one_at_a_time:
            if self._paused or (self._session is session and self._intact()):
                return
            await self._close()
            # Both or none: closing one again would cost its tasks a delivery.
            for queue, _ in self._queues.values():
                if await session.ready_count(queue) is None:
                    raise QueueMissing(queue)
            self._session = session
            for lane, (queue, prefetch) in self._queues.items():
                take = partial(self._take, lane)
                self._consumers.append(await session.consume(queue, take, prefetch=prefetch()))

    async def pause(self) -> None:
        """Take nothing new. What was delivered stays with us."""
        async with self._one_at_a_time:
            self._paused = True
            for each in self._consumers:
                await each.cancel()

    async def resume(self) -> None:
        """Undo pause(). If the session changed meanwhile, the next open() does it."""
        async with self._one_at_a_time:
            self._paused = False
            if self._intact():
                for each in self._consumers:
                    await each.resume()

    async def close(self) -> None:
        async with self._one_at_a_time:
            self._paused = True
            await self._close()

    async def ready(self, session: Session) -> int:
        """Tasks that wait in the two queues for any consumer."""
        counts = [await session.ready_count(queue) for queue, _ in self._queues.values()]
        return sum(count or 0 for count in counts)

    def _intact(self) -> bool:
        return (
            len(self._consumers) == len(self._queues)
            and self._session is not None
            and not self._session.closed.is_set()
            and not any(each.lost for each in self._consumers)
        )

    async def _close(self) -> None:
        closing, self._consumers = self._consumers, []
        for each in closing:
            await each.close()
