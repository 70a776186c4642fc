"""The command results."""

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from captionfleet.client import Client, Job
from captionfleet_cli.results.printing import print_export, print_json, print_table
from captionfleet_cli.results.sidecars import Tally, Written, write_sidecars
from captionfleet_cli.server import ServerOption, ask
from captionfleet_cli.trouble import Exit, Trouble

_IS_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}")


class Form(StrEnum):
    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    TXT = "txt"


def results(
    jobs: Annotated[list[str], typer.Argument(help="Ids of jobs, or a name: all jobs of it.")],
    output: Annotated[Form, typer.Option("-o", "--output", help="How to print.")] = Form.TABLE,
    sidecars: Annotated[
        bool, typer.Option("--sidecars", help="Write .txt files beside the pictures instead.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where the pictures lie. Default: where they were submitted from."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Let sidecars replace texts that are there.")
    ] = False,
    server: ServerOption = None,
) -> None:
    """Print captions, or write them beside the pictures.

    One column gives NAME.txt, several give NAME.MODEL.txt.
    """
    if folder and not folder.is_dir():
        raise Trouble(f"there is no folder {folder}.", Exit.USAGE)

    async def talk(client: Client) -> Exit:
        found = await find_jobs(client, jobs)
        if sidecars:
            return _tell(await write_sidecars(client, found, folder, overwrite=overwrite))
        if output is Form.TABLE:
            await print_table(client, found)
        elif output is Form.JSON:
            await print_json(client, found, {}, with_tasks=True)
        else:
            await print_export(client, found, output)
        return Exit.FINE

    code = ask(server, talk)
    if code is not Exit.FINE:
        raise typer.Exit(code)


async def find_jobs(client: Client, words: list[str]) -> list[Job]:
    """Jobs by id or name, the oldest first. Raises Trouble if a word means none."""
    found: dict[str, Job] = {}
    for word in words:
        if _IS_ID.fullmatch(word):
            named = [await client.job(word)]
        else:
            named = [job async for job in client.jobs() if job.name == word][::-1]
        if not named:
            raise Trouble(
                f"there is no job {word!r}. `captionfleet get jobs` lists them.", Exit.USAGE
            )
        found |= {job.id: job for job in named}
    return list(found.values())


def _tell(tally: Tally) -> Exit:
    """Say what was written and what was not. FAILED if a caption found no place."""
    told = ", ".join(f"{count} {what}" for what, count in tally.counts.items())
    print(told or "no captions yet")
    remedies = {
        Written.KEPT: "there is another text; --overwrite replaces it",
        Written.CLASH: "another picture of that name has its caption there: rename one",
        "without a known place": "not submitted from this machine: name the place with --folder",
    }
    for what, remedy in remedies.items():
        for example in tally.examples.get(what, []):
            print(f"captionfleet: {example}: {remedy}", file=sys.stderr)
    return Exit.FAILED if any(what in tally.counts for what in remedies) else Exit.FINE
