"""Watches jobs until they are done: a live table on a terminal, plain lines elsewhere (stderr)."""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from captionfleet.client import ApiProblem, Client, Job, ServerUnreachable
from captionfleet_cli.results.table import grid_table
from captionfleet_cli.submit.board import Board

_LINES_AROUND_TABLE = 8
_FEWEST_ROWS = 10
_SILENT_SECONDS = 5.0
"""Without news for so long, people are told what their pictures wait for."""


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
    shown = heard = time.monotonic()

    async def follow(job: str) -> None:
        nonlocal shown, heard
        async for event in client.events(job):
            heard = time.monotonic()
            board.take(event)
            if heard - shown >= every:
                shown = heard
                show(board)

    async def explain_silence() -> None:
        while True:
            await asyncio.sleep(_SILENT_SECONDS)
            if time.monotonic() - heard < _SILENT_SECONDS:
                continue
            told = board.line()
            with suppress(ApiProblem, ServerUnreachable):  # following tells it, if it lasts
                board.waiting = await _reasons(client, board)
            if board.line() != told:  # a reason may stand for hours
                show(board)

    explaining = asyncio.create_task(explain_silence())
    try:
        async with asyncio.TaskGroup() as group:
            for job in list(board.jobs):
                group.create_task(follow(job))
    finally:
        explaining.cancel()
        await asyncio.gather(explaining, return_exceptions=True)


async def _reasons(client: Client, board: Board) -> dict[str, str]:
    """Model -> why its tasks wait, of each model that has some."""
    found: dict[str, str] = {}
    for job in list(board.jobs.values()):
        for model in {column.model for column in job.columns} - found.keys():
            async for task in client.tasks(job.id, model=model, state="pending"):
                found[model] = task.reason or ""
                break
    return {model: why for model, why in found.items() if why}


def _live_table(live: Live) -> Callable[[Board], None]:
    return lambda board: live.update(
        Group(grid_table(board.heads, board.rows()), Text(board.line())), refresh=True
    )


def _plain_line(board: Board) -> None:
    print(f"captionfleet: {board.line()}", file=sys.stderr, flush=True)
