"""How many may do the same thing at a time. The limit may change while some wait for their turn."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Slots:
    """Turns are given in the order in which they were asked for."""

    def __init__(self, most: int = 1) -> None:
        self.most = most
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def allow(self, most: int) -> None:
        """From now on so many at a time. Who has a turn keeps it."""
        self.most = most
        self._give()

    @asynccontextmanager
    async def one(self, waits: Callable[[], None]) -> AsyncIterator[None]:
        """Calls `waits` if the turn has yet to come."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._give()
        try:
            if not turn.done():
                waits()
            await turn
            yield
        finally:
            # Who leaves before its turn has none to give back.
            if not turn.cancel() and not turn.cancelled():
                self._taken -= 1
            self._give()

    def _give(self) -> None:
        while self._waiting and self._taken < self.most:
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)
