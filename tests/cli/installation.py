"""A real `captionfleet up` for tests, and the command line to talk to it."""

import asyncio
import os
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.conftest import SHAPES, eventually
from tests.marked import lives, variable

from captionfleet.client import Client

_MARK = "CAPTIONS_TEST_MARK"


@dataclass(frozen=True)
class Ran:
    """One finished command."""

    code: int
    out: str
    err: str


@dataclass
class Up:
    """One running `captionfleet up`."""

    folder: Path
    home: Path
    mark: str
    process: asyncio.subprocess.Process
    url: str = ""
    progress: list[str] = field(default_factory=list)
    known: set[psutil.Process] = field(default_factory=set)
    """Of its processes those that ran at the last look."""

    @property
    def data(self) -> Path:
        return self.folder / ".captionfleet"

    async def run(self, *arguments: str) -> Ran:
        """`captionfleet ARGUMENTS` against this installation."""
        return await run_command(*arguments, home=self.home, CAPTIONFLEET_SERVER=self.url)

    def running(self, *arguments: str) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
        """The same, while it runs."""
        return running_command(*arguments, home=self.home, CAPTIONFLEET_SERVER=self.url)

    def processes(self) -> list[psutil.Process]:
        """Every process that this installation led to, itself included.

        What was known once counts until it ends: an orphan has no parent to be known by.
        """
        marked = {p for p in psutil.process_iter() if variable(p, _MARK) == self.mark}
        self.known = {each for each in self.known | marked if lives(each)}
        return sorted(self.known, key=lambda each: each.pid)

    async def program(self, words: str) -> psutil.Process:
        """The process whose command line has these words, once there is one."""

        def look() -> list[psutil.Process]:
            return [process for process in self.processes() if words in _command(process)]

        return (await eventually(look, what=words))[0]

    def send(self, number: int) -> None:
        """To `up` alone."""
        self.processes()  # now they can be known
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it; its exit status."""
        self.send(number)
        return await asyncio.wait_for(self.process.wait(), 60)


def copy_of_shapes(folder: Path) -> Path:
    """The example's manifests, models and pictures, without what a demo left there."""
    return Path(shutil.copytree(SHAPES, folder, ignore=shutil.ignore_patterns(".captionfleet")))


@asynccontextmanager
async def started(folder: Path, home: Path, *flags: str, **variables: str) -> AsyncIterator[Up]:
    """`captionfleet up FOLDER` until it says ready. In the end nothing may be left of it."""
    mark = secrets.token_hex(8)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "captionfleet_cli", "up", str(folder), "--port", "0", *flags,
        env=_environment(home) | {_MARK: mark} | variables,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=home,
    )  # fmt: skip
    up = Up(folder, home, mark, process)
    assert process.stdout and process.stderr
    reading = asyncio.create_task(_read(process.stderr, up.progress))
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 90)).decode()
        assert line.startswith("ready http"), up.progress
        up.url = line.split()[1]
        yield up
        ended_before = process.returncode is not None
        assert await up.end() == 0 or ended_before, up.progress
        await nothing_left(up)
    finally:
        for each in up.processes():
            with suppress(psutil.NoSuchProcess):
                each.kill()
        await process.wait()
        await reading


async def nothing_left(up: Up) -> None:
    await eventually(
        lambda: not up.processes(), seconds=60, what=f"no process left of {up.processes()}"
    )


async def run_command(*arguments: str, home: Path, **variables: str) -> Ran:
    async with running_command(*arguments, home=home, **variables) as process:
        out, err = await asyncio.wait_for(process.communicate(), 90)
        return Ran(process.returncode or 0, out.decode(), err.decode())


@asynccontextmanager
async def running_command(
    *arguments: str, home: Path, **variables: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`captionfleet ARGUMENTS`, ended with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "captionfleet_cli", *arguments,
        env=_environment(home) | variables, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=home,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def complete(client: Client, job: str) -> None:
    async def done() -> bool:
        return (await client.job(job)).state == "completed"

    # A task that was lost with a broker is released again after two looks, 30 s apart.
    await eventually(done, seconds=150, what=f"job {job} completes")


async def _read(stream: asyncio.StreamReader, lines: list[str]) -> None:
    async for line in stream:
        lines.append(line.decode())


def _environment(home: Path) -> dict[str, str]:
    """Ours without settings of a developer's own fleet."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CAPTIONFLEET_")}
    kept.pop("RABBITMQ_URL", None)
    return kept | {"XDG_STATE_HOME": str(home / "state"), "PYTHONUNBUFFERED": "1"}


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
