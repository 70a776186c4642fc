"""The lifeline: an inherited pipe that tells a process that the one it belongs to is gone.

`captionfleet up` holds the writing end; every process it leads to holds the reading end and ends
when that reads end-of-file, however `up` died.
"""

import asyncio
import os
from collections.abc import Callable

LIFELINE_VARIABLE = "CAPTIONFLEET_LIFELINE_FD"


def lifeline_fd() -> int | None:
    """The reading end this process inherited, to be passed on to its own children."""
    value = os.environ.get(LIFELINE_VARIABLE)
    return int(value) if value else None


def on_lifeline_cut(act: Callable[[], None]) -> None:
    """Call `act` on the running loop once the lifeline closes. Does nothing without a lifeline."""
    fd = lifeline_fd()
    if fd is None:
        return
    loop = asyncio.get_running_loop()

    def readable() -> None:
        if not os.read(fd, 1):
            loop.remove_reader(fd)
            act()

    loop.add_reader(fd, readable)
