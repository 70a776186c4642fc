"""Sidecars: a text file with the caption beside each picture, as trainers of models expect them."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from captionfleet.client import Client, Job, TaskState
from captionfleet_cli import local_files

_MOST_EXAMPLES = 5


class Written(StrEnum):
    """What became of one sidecar."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    KEPT = "kept"
    """There is another text already, and it is not ours to overwrite."""
    CLASH = "clash"
    """Two pictures, such as a.jpg and a.png, want the same file."""


@dataclass
class Tally:
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, what: str, example: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        shown = self.examples.setdefault(what, [])
        if len(shown) < _MOST_EXAMPLES:
            shown.append(example)


def suffixes(jobs: Iterable[Job]) -> dict[str, str]:
    """Column id -> ending of its sidecars: `.txt` for a single column, else `.MODEL.txt`, and
    `.MODEL.PROMPT.txt` where a model stands in several; a preset goes by its name. What
    would be called alike is numbered.
    """
    columns = [column for job in jobs for column in job.columns]
    asked = {(c.model, c.prompt): _safe(c.prompt_name or c.prompt)[:40].strip("-") for c in columns}

    def ending(model: str, prompt: str) -> str:
        if len(asked) == 1:
            return ".txt"
        of_model = {p: name for (m, p), name in asked.items() if m == model}
        if len(of_model) == 1:
            return f".{_safe(model)}.txt"
        name, number = of_model[prompt], list(of_model).index(prompt) + 1
        unlike = name and list(of_model.values()).count(name) == 1
        told = name if unlike else f"{name}-{number}".strip("-")
        return f".{_safe(model)}.{told}.txt"

    return {c.id: ending(c.model, c.prompt) for c in columns}


def finder(job: str, folder: Path | None) -> Callable[[str, str], list[Path]]:
    """(image id, file name) -> where the picture lies: under `folder`, else where it was submitted
    from on this machine. A name that leads out of `folder` is not followed.
    """
    if folder is None:
        known = local_files.sources(job)
        return lambda image, filename: known.get((image, filename), [])
    root = folder.resolve()

    def below(_: str, filename: str) -> list[Path]:
        path = (root / filename).resolve()
        return [path] if path.is_relative_to(root) and path.is_file() else []

    return below


async def write_sidecars(
    client: Client, jobs: list[Job], folder: Path | None, *, overwrite: bool
) -> Tally:
    tally, endings, ours = Tally(), suffixes(jobs), set[Path]()
    for job in jobs:
        find = finder(job.id, folder)
        async for task in client.tasks(job.id, state=TaskState.CAPTIONED):
            assert task.caption
            places = find(task.image.id, task.image.filename)
            if not places:
                tally.add("without a known place", task.image.filename)
            for picture in places:
                sidecar = picture.with_suffix(endings[task.column])
                done = _write(sidecar, task.caption.text, ours, overwrite=overwrite)
                tally.add(done, str(sidecar))
    return tally


def _write(sidecar: Path, caption: str, ours: set[Path], *, overwrite: bool) -> Written:
    text = f"{caption.strip()}\n"
    try:
        there = sidecar.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        there = None
    if there is not None and there.strip() == caption.strip():
        ours.add(sidecar)
        return Written.UNCHANGED
    if sidecar in ours:
        return Written.CLASH
    if there is not None and not overwrite:
        return Written.KEPT
    fresh = sidecar.with_name(f".{sidecar.name}.part")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(sidecar)
    ours.add(sidecar)
    return Written.WRITTEN


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)
