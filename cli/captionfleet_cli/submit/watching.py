"""Watches jobs until they are done: a live table on a terminal, plain lines elsewhere (stderr)."""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group
from rich.live import Live

from captionfleet.client import Client, Job
from captionfleet_cli.results.table import grid_table
from captionfleet_cli.submit.board import Board

_LINES_AROUND_TABLE = 8
_FEWEST_ROWS = 10


async def watch(client: Client, jobs: Sequence[Job], *, quiet: bool = False) -> list[Job]:
    """Returns the finished jobs."""
    console = Console(stderr=True)
    capacity = max(console.height - _LINES_AROUND_TABLE, _FEWEST_ROWS)
    board = Board(jobs, capacity)
    if console.is_terminal and not quiet:
        with Live(console=console, transient=True, auto_refresh=False) as live:
            await _follow(client, board, _live_table(live), every=0.1)
    else:
        await _follow(client, board, _plain_line, every=5.0)
    return [await client.job(job.id) for job in jobs]


async def _follow(
    client: Client, board: Board, show: Callable[[Board], None], every: float
) -> None:
    shown = time.monotonic()

    async def follow(job: str) -> None:
        nonlocal shown
        async for event in client.events(job):
            board.take(event)
            if time.monotonic() - shown >= every:
                shown = time.monotonic()
                show(board)

    async with asyncio.TaskGroup() as group:
        for job in list(board.jobs):
            group.create_task(follow(job))


def _live_table(live: Live) -> Callable[[Board], None]:
    return lambda board: live.update(
        Group(grid_table(board.heads, board.rows()), board.line()), refresh=True
    )


def _plain_line(board: Board) -> None:
    print(f"captionfleet: {board.line()}", file=sys.stderr, flush=True)
