"""The kinds of things that `get`, `describe` and `delete` know, and how each is laid out. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from captionfleet.resources.crd import MODEL_COLUMNS, POOL_COLUMNS
from captionfleet_cli.trouble import Exit, Trouble


@dataclass(frozen=True)
class Field:
    """A column of a table: its head, where its value stands, and whether only -o wide shows it."""

    head: str
    path: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True)
class Kind:
    name: str
    """Plural, as in the address of its REST door."""
    singular: str
    """As in `captionmodel/blip`."""
    aliases: frozenset[str]
    columns: tuple[Field, ...]
    name_path: str = ".metadata.name"


def _printed(columns: Sequence[tuple[str, str, str, int]]) -> tuple[Field, ...]:
    """The columns that kubectl prints: the CRDs' own."""
    name = Field("NAME", ".metadata.name")
    return name, *(Field(head, path, type_, bool(wide)) for head, type_, path, wide in columns)


KINDS = (
    Kind(
        "models", "captionmodel",
        frozenset({"model", "models", "capm", "captionmodel", "captionmodels"}),
        _printed(MODEL_COLUMNS),
    ),
    Kind(
        "pools", "captionworkerpool",
        frozenset({"pool", "pools", "capw", "captionworkerpool", "captionworkerpools"}),
        _printed(POOL_COLUMNS),
    ),
    Kind(
        "workers", "worker", frozenset({"worker", "workers"}),
        (
            Field("NAME", ".id"), Field("POOL", ".pool"), Field("DEVICE", ".device"),
            Field("STATE", ".state"), Field("COPIES", ".loaded"), Field("IN-FLIGHT", ".in_flight"),
            Field("MEMORY", ".memory_used"), Field("SEEN", ".seen_at", "date"),
            Field("NODE", ".node", wide=True), Field("MODELS", ".models", wide=True),
            Field("CACHED", ".cached", wide=True), Field("DISK", ".disk_used", wide=True),
            Field("ASKED", ".asked", wide=True),
        ),
        ".id",
    ),
    Kind(
        "jobs", "job", frozenset({"job", "jobs"}),
        (
            Field("ID", ".id"), Field("NAME", ".name"), Field("STATE", ".state"),
            Field("PICTURES", ".images"), Field("CAPTIONED", ".counts.captioned"),
            Field("FAILED", ".counts.failed"), Field("OPEN", ".open"),
            Field("AGE", ".created_at", "date"), Field("MODELS", ".models", wide=True),
        ),
        ".id",
    ),
)  # fmt: skip


def find_kind(word: str) -> Kind:
    for kind in KINDS:
        if word.lower() in kind.aliases:
            return kind
    names = ", ".join(kind.name for kind in KINDS)
    raise Trouble(f"there is no kind {word!r}: it is one of {names}.", Exit.USAGE)


def rows(
    kind: Kind, documents: Sequence[Mapping[str, Any]], now: datetime, *, wide: bool = False
) -> list[list[str]]:
    """The heads, then one row per document."""
    columns = [column for column in kind.columns if wide or not column.wide]
    found = [[_cell(document, column, now) for column in columns] for document in documents]
    return [[column.head for column in columns], *found]


def _cell(document: Mapping[str, Any], column: Field, now: datetime) -> str:
    text = as_text(value_at(document, column.path), column.type, now)
    percent = value_at(document, ".status.download.percent")
    is_phase = column.path == ".status.phase"
    return f"{text} {percent}%" if is_phase and percent is not None else text


def value_at(document: Any, path: str) -> Any:
    """The value under a path such as `.status.conditions[?(@.type=='Ready')].status`, or None."""
    for name, key, wanted in _STEP.findall(path):
        document = document.get(name) if isinstance(document, Mapping) else None
        if key:
            document = next((e for e in document or () if e.get(key) == wanted), None)
    return document


_STEP = re.compile(r"\.(\w+)(?:\[\?\(@\.(\w+)=='([^']*)'\)\])?")


def as_text(value: Any, type_: str, now: datetime) -> str:
    if value is None or value == "":
        return "-"
    if type_ == "date":
        return age(value, now)
    if isinstance(value, float):
        return f"{value:.3g}"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def age(since: Any, now: datetime) -> str:
    """How long ago, as kubectl says it: 12s, 5m, 3h, 2d. Takes RFC 3339 or Unix seconds."""
    try:
        then = (
            datetime.fromtimestamp(since, UTC)
            if isinstance(since, int | float)
            else datetime.fromisoformat(str(since))
        )
    except ValueError:
        return str(since)
    seconds = max(int((now - then).total_seconds()), 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def size(count: int | None) -> str:
    """Bytes for people."""
    if count is None:
        return "-"
    for limit, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= limit:
            return f"{count / limit:.3g} {unit}"
    return f"{count} B"
