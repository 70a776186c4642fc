"""The command submit."""

import asyncio
import difflib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from captionfleet.client import Client, Job, Refused
from captionfleet_cli.results.printing import print_json, print_table
from captionfleet_cli.server import ServerOption, ask
from captionfleet_cli.submit.pictures import check_paths, default_name, find_pictures, left_out
from captionfleet_cli.submit.presets import preset_columns
from captionfleet_cli.submit.sending import Sent, Submission, send
from captionfleet_cli.submit.watching import watch
from captionfleet_cli.text import one_line, pictures
from captionfleet_cli.trouble import Exit, Trouble

_MOST_TOLD = 20


class Form(StrEnum):
    TABLE = "table"
    JSON = "json"


def submit(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, and folders of pictures.")],
    models: Annotated[str, typer.Option("--models", "-m", help="Models, with commas between.")],
    prompt: Annotated[
        list[str] | None, typer.Option(help="What to ask. Several make several columns.")
    ] = None,
    preset: Annotated[
        list[str] | None, typer.Option(help="Name of a preset that each of the models has.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the job. Default: the pictures' folder.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the captions, print them.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Send only what is missing in jobs of this name.")
    ] = False,
    output: Annotated[Form, typer.Option("-o", "--output", help="How to print.")] = Form.TABLE,
    server: ServerOption = None,
) -> None:
    """Caption pictures with several models.

    Exit code 0: every picture captioned (without --wait: taken), 1: some failed, 2: wrong usage,
    3: no answer from the server.
    """
    check_paths(paths)
    asked = tuple(dict.fromkeys(m.strip() for m in models.split(",") if m.strip()))
    _tell_left_out(paths)
    total = sum(1 for _ in find_pictures(paths))
    if not total:
        raise Trouble(f"no pictures in {', '.join(map(str, paths))}.", Exit.USAGE)

    async def talk(client: Client) -> Exit:
        specs = await _specs_of(client, asked)
        submission = Submission(
            paths=tuple(paths),
            models=asked,
            prompts=tuple(dict.fromkeys(prompt or ())),
            presets=preset_columns(specs, preset or ()),
            name=name or default_name(paths),
            resume=resume,
        )
        with _progress(total) as progress:
            sent = await send(client, submission, progress)
        return await _report(client, sent, wait=wait, form=output)

    code = ask(server, talk)
    if code is not Exit.FINE:
        raise typer.Exit(code)


async def _specs_of(client: Client, models: tuple[str, ...]) -> dict[str, Any]:
    """By model, asked for before anything is uploaded."""
    known = {each["metadata"]["name"]: each["spec"] for each in await client.manifests("models")}
    for model in models:
        if model not in known:
            near = difflib.get_close_matches(model, known, 1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            there = ", ".join(sorted(known)) or "none yet: see `captionfleet add`"
            raise Trouble(f"there is no model {model!r}.{meant} Models: {there}.", Exit.USAGE)
    if not models:
        raise Trouble(f"--models is empty. Models: {', '.join(sorted(known))}.", Exit.USAGE)
    return {model: known[model] for model in models}


async def _report(client: Client, sent: Sent, *, wait: bool, form: Form) -> Exit:
    _tell_sent(sent)
    jobs = list(sent.jobs.values())
    if wait and jobs:
        jobs = await _watch(client, jobs, quiet=form is Form.JSON)
    if form is Form.JSON:
        refused = [
            {"filename": each.picture.filename, "code": each.code, "message": each.message}
            for each in sent.refused
        ]
        await print_json(client, jobs, {"rejected": refused}, with_tasks=wait)
    elif wait and jobs:
        await print_table(client, jobs)
    else:
        for job in jobs:
            print(job.id)
    return outcome(jobs, sent.refused, waited=wait)


def outcome(jobs: list[Job], refused: list[Refused], *, waited: bool) -> Exit:
    """FINE if nothing was refused and, when waited for, every task is captioned."""
    captioned = all(job.counts.captioned == job.counts.total for job in jobs)
    unusable = refused or any(job.rejected for job in jobs)
    return Exit.FAILED if unusable or (waited and not captioned) else Exit.FINE


async def _watch(client: Client, jobs: list[Job], *, quiet: bool) -> list[Job]:
    try:
        return await watch(client, jobs, quiet=quiet)
    except asyncio.CancelledError:  # Ctrl-C
        ids = " ".join(job.id for job in jobs)
        _tell(f"no longer waiting; the work goes on. Later: captionfleet results {ids}")
        raise


def _tell_left_out(paths: list[Path]) -> None:
    if names := left_out(paths):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        _tell(f"{', '.join(names[:3])}{more} left out: by its name no picture")


def _tell_sent(sent: Sent) -> None:
    for each in sent.refused[:_MOST_TOLD]:
        named = each.message.removeprefix(f"{each.picture.filename}: ")
        _tell(f"{each.picture.filename}: {named} ({each.code})")
    if len(sent.refused) > _MOST_TOLD:
        _tell(f"and {len(sent.refused) - _MOST_TOLD} more files were refused (-o json lists all)")
    if sent.complete:
        _tell(f"{pictures(sent.complete)} had nothing missing")
    if not sent.remembered:
        _tell("where the pictures lie could not be noted: results --sidecars will need --folder")
    for job in sent.jobs.values():
        _tell(f"job {job.id} ({one_line(job.name)}): {pictures(job.images)}")


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal. Yields what to call once per picture."""
    columns = ("sending", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


def _tell(text: str) -> None:
    print(f"captionfleet: {one_line(text)}", file=sys.stderr, flush=True)
