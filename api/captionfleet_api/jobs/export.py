"""A job's captions as files: jsonl, csv, txt (a line per caption), zip (a .txt per picture).

All are streamed, whatever the size of the job. In a zip of several columns each has a folder.
"""

import csv
import io
import json
import re
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from enum import StrEnum
from pathlib import PurePosixPath

from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.loops import finish
from captionfleet_api.jobs.shapes import ColumnShape, TaskShape
from captionfleet_api.jobs.task_reading import TaskFilter, task_page
from captionfleet_api.store.engine import Database

_PAGE = 500


class ExportFormat(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"
    TXT = "txt"
    ZIP = "zip"

    @property
    def media_type(self) -> str:
        return {
            ExportFormat.JSONL: "application/jsonl",
            ExportFormat.CSV: "text/csv; charset=utf-8",
            ExportFormat.TXT: "text/plain; charset=utf-8",
            ExportFormat.ZIP: "application/zip",
        }[self]


CSV_HEADER = ("filename", "image", "model", "prompt_name", "prompt", "options", "state", "caption",
              "finish", "seconds", "tokens", "cached", "starred", "revision", "worker",
              "error_code", "error_message", "attempts", "task")  # fmt: skip


async def export(
    database: Database,
    fleet_view: FleetView,
    job: str,
    columns: Sequence[ColumnShape],
    format: ExportFormat,
) -> AsyncIterator[bytes]:
    pages = _pages(database, fleet_view, job)
    by_id = {column.id: column for column in columns}
    if format is ExportFormat.ZIP:
        async for piece in _zip(pages, columns):
            yield piece
        return
    if format is ExportFormat.CSV:
        yield _csv_lines([list(CSV_HEADER)])
    async for page in pages:
        yield _LINES[format](page, by_id)


async def _pages(
    database: Database, fleet_view: FleetView, job: str
) -> AsyncIterator[list[TaskShape]]:
    """Each page in a transaction of its own: a slow reader must not hold one open."""

    async def page_after(place: str) -> list[TaskShape]:
        async with database.read() as session:
            return await task_page(session, fleet_view, job, TaskFilter(), limit=_PAGE, after=place)

    after = ""
    while page := await finish(page_after(after)):
        yield page
        after = page[-1].id


def _jsonl(page: list[TaskShape], _: dict[str, ColumnShape]) -> bytes:
    return "".join(task.model_dump_json() + "\n" for task in page).encode()


def _csv(page: list[TaskShape], columns: dict[str, ColumnShape]) -> bytes:
    return _csv_lines(
        [_csv_row(task, columns[task.column]) for task in page if task.column in columns]
    )


def _csv_row(task: TaskShape, column: ColumnShape) -> list[object]:
    caption, error = task.caption, task.error
    told = [
        task.image.filename, task.image.id, task.model, column.prompt_name, column.prompt,
        json.dumps(column.options) if column.options else "", task.state,
        caption.text if caption else "",
    ]  # fmt: skip
    measured = (
        [caption.finish, caption.seconds, caption.tokens, caption.cached, task.starred,
         caption.revision, caption.worker]
        if caption
        else [None, None, None, None, task.starred, None, None]
    )  # fmt: skip
    failed = [error.code, error.message] if error else [None, None]
    return [guarded(cell) for cell in (*told, *measured, *failed)] + [task.attempts, task.id]


def guarded(cell: object) -> object:
    """A text that a spreadsheet would run as a formula gets a quote in front."""
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return cell


def _csv_lines(rows: list[list[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _txt(page: list[TaskShape], columns: dict[str, ColumnShape]) -> bytes:
    lines = [
        "\t".join(
            map(_one_line, (task.image.filename, label(columns[task.column]), task.caption.text))
        )
        for task in page
        if task.caption and task.column in columns
    ]
    return "".join(f"{line}\n" for line in lines).encode()


_LINES: dict[ExportFormat, Callable[[list[TaskShape], dict[str, ColumnShape]], bytes]] = {
    ExportFormat.JSONL: _jsonl, ExportFormat.CSV: _csv, ExportFormat.TXT: _txt,
}  # fmt: skip


def label(column: ColumnShape) -> str:
    """How a column is called in files: its model, and its prompt if it has one."""
    prompt = column.prompt_name or column.prompt
    return f"{column.model} {prompt[:60]}" if prompt else column.model


def _one_line(text: str) -> str:
    return " ".join(text.split())


async def _zip(
    pages: AsyncIterator[list[TaskShape]], columns: Sequence[ColumnShape]
) -> AsyncIterator[bytes]:
    names = Names()
    folders = {
        column.id: f"{names.free(safe_name(label(column)))}/" if len(columns) > 1 else ""
        for column in columns
    }
    written = _Written()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        async for page in pages:
            for task in page:
                if task.caption and task.column in folders:
                    stem = _stem(task.image.filename) or task.image.id[:16]
                    path = names.free(f"{folders[task.column]}{stem}", ".txt")
                    archive.writestr(path, f"{task.caption.text}\n")
            yield written.take()
    yield written.take()


def _stem(filename: str) -> str:
    return safe_name(PurePosixPath(filename.replace("\\", "/")).stem)


class _Written(io.RawIOBase):
    """A file that only goes forward; take() gives what was written since."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class Names:
    """Gives every file a name of its own, whatever the letter case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, name: str, suffix: str = "") -> str:
        candidate, number = f"{name}{suffix}", 2
        while candidate.lower() in self._taken:
            candidate, number = f"{name}-{number}{suffix}", number + 1
        self._taken.add(candidate.lower())
        return candidate


def safe_name(text: str) -> str:
    """A file name that is harmless on every system: no separators, no leading dot, not too long."""
    return re.sub(r"[^\w .,()+-]+", "_", text).strip(" .")[:100]
