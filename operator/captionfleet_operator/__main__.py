"""`python -m captionfleet_operator`: decides for one folder of manifests until told to end.

SIGTERM ends the operator alone, with exit status 0; its workers go on and are adopted by the
next one. If the lifeline is cut it ends at once.
"""

import asyncio
import contextlib
import os
import signal
import sys

from captionfleet.lifeline import on_lifeline_cut
from captionfleet.logs import configure_logging
from captionfleet_operator.local.sole import AlreadyRunning, hold
from captionfleet_operator.loop import Operator
from captionfleet_operator.settings import OperatorSettings


def main() -> int:
    settings = OperatorSettings()
    configure_logging("operator", settings.log_level)
    try:
        with hold(settings.data):
            asyncio.run(_serve(settings))
    except (AlreadyRunning, ValueError) as error:
        print(f"captionfleet operator: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(settings: OperatorSettings) -> None:
    on_lifeline_cut(lambda: os._exit(1))
    running = asyncio.ensure_future(Operator(settings).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    sys.exit(main())
