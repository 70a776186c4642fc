"""Prints the captions of jobs to standard output, streaming: no job is too large."""

import json
from codecs import getincrementaldecoder
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from captionfleet.client import Client, Job
from captionfleet_cli.results.table import job_table, plain_lines

_MOST_ROWS = 500


async def print_table(client: Client, jobs: Sequence[Job]) -> None:
    """Captions side by side on a terminal; elsewhere a line per caption."""
    console = Console()
    if not console.is_terminal:
        async for line in plain_lines(client, jobs):
            print(line)
        return
    table, left_out = await job_table(client, jobs, _MOST_ROWS)
    console.print(table)
    if left_out:
        ids = " ".join(job.id for job in jobs)
        console.print(f"and {left_out} pictures more: captionfleet results {ids} -o csv")


async def print_json(
    client: Client, jobs: Sequence[Job], more: Mapping[str, Any], *, with_tasks: bool
) -> None:
    """One JSON object: jobs, what is in `more`, and every task if asked for."""
    head = {"jobs": [job.model_dump(mode="json") for job in jobs], **more}
    if not with_tasks:
        print(json.dumps(head, indent=1))
        return
    print(json.dumps(head, indent=1)[:-2] + ',\n "tasks": [', end="")
    separator = "\n"
    for job in jobs:
        async for task in client.tasks(job.id):
            print(f"{separator}  {task.model_dump_json()}", end="")
            separator = ",\n"
    print("\n ]\n}")


async def print_export(client: Client, jobs: Sequence[Job], format: str) -> None:
    """What the server exports, job after job; a CSV's head stands once."""
    decoder = getincrementaldecoder("utf-8")()  # a piece may end within a letter
    for number, job in enumerate(jobs):
        skip_head = format == "csv" and number > 0
        async for piece in client.export(job.id, format):
            text = decoder.decode(piece)
            if skip_head:
                _, found, text = text.partition("\n")
                skip_head = not found
            print(text, end="")
