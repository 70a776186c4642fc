"""Holds RabbitMQ's leash: `python -m captionfleet_cli.up.guard FOLDER PORT`.

RabbitMQ does not watch the lifeline, so this process does: it ends the broker when told to, or
when `up` is gone however it died. SIGTERM stops it, SIGQUIT kills it. It ends with the broker.
"""

import asyncio
import signal
import sys
from pathlib import Path

from captionfleet.lifeline import on_lifeline_cut
from captionfleet_cli.rabbitmq import BrokerUnavailable, PrivateBroker, start_private_broker
from captionfleet_cli.up.record import ProcessRecord, kill_group

_LONGEST_START = 120.0


async def guard(broker: PrivateBroker) -> None:
    """Returns when the broker has ended."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def kill() -> None:
        kill_group(broker.process.pid)
        told.set()

    loop.add_signal_handler(signal.SIGTERM, told.set)
    loop.add_signal_handler(signal.SIGQUIT, kill)
    on_lifeline_cut(told.set)
    ended = asyncio.create_task(asyncio.to_thread(broker.process.wait))
    starting = asyncio.create_task(_start_in_time(broker))
    asked = asyncio.create_task(told.wait())
    await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.to_thread(broker.stop)
    asked.cancel()
    starting.cancel()
    await asyncio.gather(asked, starting, ended, return_exceptions=True)


async def _start_in_time(broker: PrivateBroker) -> None:
    """End a broker that does not come up, and say why."""
    try:
        await asyncio.to_thread(broker.wait_until_ready, _LONGEST_START)
    except BrokerUnavailable as error:
        print(error, file=sys.stderr)
        kill_group(broker.process.pid)


def main(folder: Path, port: int) -> None:
    """Start the broker of `folder` on `port` and stay until it has ended."""
    folder.mkdir(parents=True, exist_ok=True)
    record = ProcessRecord(folder / "processes.json")
    record.end_survivors(seconds=1)  # only if a guard was killed: nobody else leaves a broker
    try:
        broker = start_private_broker(folder, port=port)
    except BrokerUnavailable as error:
        sys.exit(str(error))
    record.remember("broker", broker.process.pid)
    record.remember("epmd", broker.epmd.pid)
    asyncio.run(guard(broker))
    record.forget_all()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
