"""How long a worker that leaves goes on: until all is answered, its time is up, or nobody listens.

Without a broker nothing can be answered. It gives the work to others by itself when it is back,
and a namespace that is being deleted never brings it back.
"""

import asyncio
import time
from collections.abc import Awaitable
from enum import Enum

from captionfleet.broker.link import Link

_LOOK_SECONDS = 1.0


class Ending(Enum):
    DONE = "done"
    LATE = "late"
    BROKERLESS = "brokerless"


async def drain(
    work: Awaitable[None], link: Link, *, seconds: float, brokerless_seconds: float
) -> Ending:
    """Wait for `work`, at most `seconds`, and at most `brokerless_seconds` without a broker."""
    working = asyncio.ensure_future(work)
    absence = asyncio.ensure_future(_absent_for(link, brokerless_seconds))
    try:
        await asyncio.wait({working, absence}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return Ending.DONE
        return Ending.BROKERLESS if absence.done() else Ending.LATE
    finally:
        working.cancel()
        absence.cancel()
        await asyncio.gather(working, absence, return_exceptions=True)


async def _absent_for(link: Link, seconds: float) -> None:
    """Return once no broker has answered for `seconds`."""
    answered = time.monotonic()
    while (left := answered + seconds - time.monotonic()) > 0:
        # Never cancelled: a call to the broker that is given up halfway ends its connection.
        looking = asyncio.create_task(_answers(link))
        await asyncio.wait({looking}, timeout=left)
        if looking.done() and looking.result():
            answered = time.monotonic()
        await asyncio.sleep(min(_LOOK_SECONDS, left))


async def _answers(link: Link) -> bool:
    """Whether the broker does something for us: a connection may look alive long after its end."""
    if link.session is None:
        return False
    try:
        async with link.session.channel():
            return True
    except Exception:  # the session ended meanwhile, in whatever way
        return False


def drain_budget(seconds: float) -> float:
    """Seconds for finishing work, when so many are left in all: engines need some to end."""
    return seconds - min(8.0, seconds / 2)
