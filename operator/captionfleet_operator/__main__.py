"""`python -m captionfleet_operator`: decides for one fleet until told to end.

With CAPTIONFLEET_NAMESPACE for a namespace of Kubernetes, else for a folder of manifests. SIGTERM
ends the operator alone, with exit status 0; its workers go on and are adopted by the next one.
"""

import asyncio
import contextlib
import os
import signal
import sys

from captionfleet.lifeline import on_lifeline_cut
from captionfleet.logs import configure_logging
from captionfleet_operator.local.main import run_local
from captionfleet_operator.local.sole import AlreadyRunning, hold
from captionfleet_operator.settings import OperatorSettings


def main() -> int:
    settings = OperatorSettings()
    configure_logging("operator", settings.log_level, settings.log_format)
    if settings.namespace:
        # Imported only here: a folder needs none of what a cluster needs.
        from captionfleet_operator.cluster.main import run_cluster

        return run_cluster(settings)
    try:
        with hold(settings.data):
            asyncio.run(_serve(settings))
    except (AlreadyRunning, ValueError) as error:
        print(f"captionfleet operator: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(settings: OperatorSettings) -> None:
    on_lifeline_cut(lambda: os._exit(1))
    running = asyncio.ensure_future(run_local(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    sys.exit(main())
