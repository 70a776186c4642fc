"""How the flow's loops live: a step that fails is told and tried again, a transaction once begun
is finished even while the program is being stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import structlog

log = structlog.get_logger()

T = TypeVar("T")
_LONGEST_PAUSE = 10.0


async def keep_going(
    what: str, step: Callable[[], Awaitable[object]], told: Callable[[str, str], None]
) -> NoReturn:
    """Run `step` for ever. `told(what, sentence)` hears what keeps failing; "" once it works.

    A loop that ended on an error would leave tasks waiting without a word.
    """
    pause = 0.1
    while True:
        try:
            await step()
        except Exception as error:
            log.exception("the flow retries", what=what)
            told(what, f"{what} fails and is tried again: {error or type(error).__name__}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            told(what, "")
            pause = 0.1


async def finish(work: Awaitable[T]) -> T:
    """Await `work` to its end even if cancelled meanwhile; then be cancelled."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
