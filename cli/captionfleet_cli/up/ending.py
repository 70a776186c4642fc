"""The order in which an installation ends, so that no caption that is being made is lost.

The api stops releasing tasks; the workers finish what they run and hand back the rest; then the
operator, the api, which has written the last results by now, and the broker go.
"""

import asyncio
import contextlib
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from captionfleet_cli.up.record import kill_group, same_process
from captionfleet_cli.up.service import Service

_LOOK_EVERY = 0.1
_GRACE = 20.0


@dataclass(frozen=True)
class Crew:
    """The services of one installation, and where its operator notes the workers it started."""

    api: Service
    operator: Service
    broker: Service | None
    workers_file: Path

    @property
    def services(self) -> list[Service]:
        return [each for each in (self.api, self.operator, self.broker) if each]


async def end_in_order(crew: Crew, drain_seconds: float, say: Callable[[str], None]) -> None:
    """End everything. Workers get `drain_seconds` to finish."""
    crew.api.tell(signal.SIGUSR1)  # stop releasing tasks
    # The operator would replace the workers that leave now; without it they go on all the same.
    await crew.operator.end(_GRACE)
    await _drain(workers(crew.workers_file), drain_seconds, say)
    await crew.api.end(_GRACE)
    if crew.broker:
        await crew.broker.end(2 * _GRACE)


async def kill_all(crew: Crew) -> None:
    """End everything at once. What was being made is made again after the next start."""
    for worker in workers(crew.workers_file):
        kill_group(worker.pid)
    for service in (crew.api, crew.operator):
        service.kill()
    if crew.broker:  # its guard alone knows the broker
        await crew.broker.end(_GRACE, signal.SIGQUIT)


def workers(file: Path) -> list[psutil.Process]:
    """The running workers that the operator's record names."""
    try:
        records = json.loads(file.read_text())["workers"].values()
    except (FileNotFoundError, ValueError, KeyError):
        return []
    started = [(each["pid"], each["started"]) for each in records if each.get("pid")]
    found = (same_process(pid, since) for pid, since in started)
    return [process for process in found if process]


async def _drain(leaving: list[psutil.Process], seconds: float, say: Callable[[str], None]) -> None:
    if leaving:
        say(f"workers finish what they run: {len(leaving)} (once more to end at once)")
    for worker in leaving:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.terminate()
    deadline = asyncio.get_running_loop().time() + seconds
    while leaving := [each for each in leaving if _runs(each)]:
        if asyncio.get_running_loop().time() > deadline:
            say(f"workers did not finish within {seconds:g} s: ending {len(leaving)}")
            for worker in leaving:
                kill_group(worker.pid)
            return
        await asyncio.sleep(_LOOK_EVERY)


def _runs(process: psutil.Process) -> bool:
    return same_process(process.pid, process.create_time()) is not None
