"""A service: one program that `up` keeps running, started again with growing pauses.

What the programs are, and in which order they end, is not known here.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from captionfleet.lifeline import LIFELINE_VARIABLE
from captionfleet_cli.up.record import ProcessRecord, kill_group

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_LONG_LIFE = 60.0
_TRIES_BEFORE_PROVEN = 3
_LARGEST_LOG = 10 * 2**20


class ServiceFailed(Exception):
    """A program ended again and again and never worked; the message has the end of its log."""


@dataclass(frozen=True)
class Program:
    """How to start one."""

    name: str
    module: tuple[str, ...]
    """Arguments of `python -m`."""
    environment: Mapping[str, str] = field(repr=False)
    log: Path


def restart_pause(last: float, lived: float) -> float:
    """Seconds to wait before the next start: doubled each time, small again after a long life."""
    if lived >= _LONG_LIFE:
        return _SHORTEST_PAUSE
    return min(max(last * 2, _SHORTEST_PAUSE), _LONGEST_PAUSE)


class Service:
    """Runs a program until end()."""

    def __init__(
        self,
        program: Program,
        lifeline: int,
        record: ProcessRecord,
        say: Callable[[str], None],
    ) -> None:
        self.program = program
        self.proven = False
        """It worked once: from now on it is restarted for ever."""
        self._lifeline = lifeline
        self._record = record
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Start, attend, start again. Raises ServiceFailed if it never comes to work."""
        pause, tries, clock = 0.0, 0, asyncio.get_running_loop().time
        while not self._ending.is_set():
            started = clock()
            code = await self._live()
            if self._ending.is_set():
                return
            tries += 1
            if not self.proven and tries >= _TRIES_BEFORE_PROVEN:
                raise ServiceFailed(self._last_words(code))
            pause = restart_pause(pause, clock() - started)
            self._say(
                f"{self.program.name} {ended_how(code)}: starting it again in {pause:g} s "
                f"(its log: {self.program.log})"
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)

    def tell(self, number: int) -> None:
        """Tell the program something, if it runs."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(number)

    async def end(self, seconds: float, number: int = signal.SIGTERM) -> None:
        """Signal it, and SIGKILL its process group after `seconds`. It is not started again."""
        self._ending.set()
        if self._process is None:
            return
        self.tell(number)
        try:
            await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            self._say(f"{self.program.name} did not end within {seconds:g} s: killing it")
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """SIGKILL to its process group. It is not started again."""
        self._ending.set()
        if self._process and self._process.returncode is None:
            kill_group(self._process.pid)

    async def _live(self) -> int:
        _turn_over(self.program.log)
        with self.program.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *self.program.module,
                env={**self.program.environment, LIFELINE_VARIABLE: str(self._lifeline)},
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=(self._lifeline,),
            )  # fmt: skip
        self._process = process
        self._record.remember(self.program.name, process.pid)
        return await process.wait()

    def _last_words(self, code: int) -> str:
        lines = self.program.log.read_text(errors="replace").splitlines()[-12:]
        told = "\n".join(f"  {line}" for line in lines)
        return f"{self.program.name} {ended_how(code)}, {_TRIES_BEFORE_PROVEN} times.\n{told}"


def ended_how(code: int) -> str:
    """An exit status in words."""
    if code >= 0:
        return f"ended with exit status {code}"
    return f"was ended by {signal.Signals(-code).name}"


def _turn_over(log: Path) -> None:
    """Keep one older log, so that logs stay bounded."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LARGEST_LOG:
            log.replace(log.with_suffix(".old.log"))
