"""The grid as text: pictures down, columns across. Pure but for asking the client for rows."""

from collections.abc import AsyncIterator, Iterable, Sequence

from rich.box import HORIZONTALS
from rich.table import Table
from rich.text import Text

from captionfleet.client import Client, Column, GridRow, Job, Task, TaskState
from captionfleet_cli.text import one_line

_LONGEST_PROMPT = 24


def labels(jobs: Iterable[Job]) -> dict[str, str]:
    """Column id -> head: the model, with the prompt where a model stands in several columns.

    Columns of several jobs that ask the same of the same model share their head.
    """
    columns = [column for job in jobs for column in job.columns]
    asked: dict[str, set[str]] = {}
    for column in columns:
        asked.setdefault(column.model, set()).add(column.prompt)
    return {c.id: _label(c, alone=len(asked[c.model]) == 1) for c in columns}


def cell_text(task: Task | None) -> Text:
    """A cell for people: its caption, why it failed, or why it waits."""
    if task is None:
        return Text("-", style="dim")
    if task.state is TaskState.CAPTIONED and task.caption:
        return Text(one_line(task.caption.text))
    if task.state is TaskState.FAILED and task.error:
        return Text(one_line(f"failed: {task.error.message}"), style="red")
    if task.state is TaskState.RUNNING:
        return Text("running", style="cyan")
    if task.state is TaskState.CANCELLED:
        return Text("cancelled", style="dim")
    return Text(one_line(task.reason or task.state), style="dim")


def grid_table(heads: Sequence[str], rows: Iterable[tuple[str, Sequence[Text]]]) -> Table:
    """A table for terminals. Long words, such as file names, are cut; captions wrap."""
    table = Table(box=HORIZONTALS, show_lines=True, header_style="bold", pad_edge=False)
    table.add_column("picture", overflow="ellipsis", max_width=28)
    for head in heads:
        table.add_column(one_line(head), overflow="fold")
    for filename, cells in rows:
        table.add_row(Text(one_line(filename)), *cells)
    return table


async def plain_lines(client: Client, jobs: Sequence[Job]) -> AsyncIterator[str]:
    """One line per cell for pipes: picture, column, caption, with tabs between."""
    heads = labels(jobs)
    for job in jobs:
        async for row in client.grid(job.id):
            for column in job.columns:
                text = cell_text(row.cells.get(column.id))
                yield f"{one_line(row.image.filename)}\t{heads[column.id]}\t{text.plain}"


async def job_table(client: Client, jobs: Sequence[Job], most_rows: int) -> tuple[Table, int]:
    """The first rows side by side, and how many more there are."""
    heads = labels(jobs)
    names = list(dict.fromkeys(heads.values()))
    rows: dict[tuple[str, str], dict[str, Text]] = {}
    left_out = 0
    for job in jobs:
        if len(rows) >= most_rows:
            left_out += job.images
            continue
        seen = 0
        async for row in client.grid(job.id):
            key = (row.image.id, row.image.filename)
            if len(rows) >= most_rows and key not in rows:
                break
            seen += 1
            rows.setdefault(key, {}).update(_cells(row, heads))
        left_out += job.images - seen
    dash = cell_text(None)
    lines = [(key[1], [cells.get(name, dash) for name in names]) for key, cells in rows.items()]
    return grid_table(names, lines), left_out


def _cells(row: GridRow, heads: dict[str, str]) -> dict[str, Text]:
    return {heads[id_]: cell_text(task) for id_, task in row.cells.items() if id_ in heads}


def _label(column: Column, *, alone: bool) -> str:
    if alone:
        return column.model
    asked = one_line(column.prompt_name or column.prompt) or "its own prompt"
    cut = asked if len(asked) <= _LONGEST_PROMPT else f"{asked[: _LONGEST_PROMPT - 1]}…"
    return f"{column.model}: {cut}"
