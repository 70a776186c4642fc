"""The board: what the watched jobs look like now, from their events. Pure, and bounded."""

from collections import OrderedDict
from collections.abc import Sequence

from rich.text import Text

from captionfleet.client import Event, Job
from captionfleet_cli.results.table import cell_text, labels
from captionfleet_cli.text import one_line


class Board:
    """Counts of all jobs, and the cells of the last `capacity` pictures that changed."""

    def __init__(self, jobs: Sequence[Job], capacity: int) -> None:
        self.jobs = {job.id: job for job in jobs}
        self._labels = labels(jobs)
        self._capacity = capacity
        self.heads = list(dict.fromkeys(self._labels.values()))
        self._rows: OrderedDict[tuple[str, str], dict[str, Text]] = OrderedDict()
        self.waiting: dict[str, str] = {}
        """Model -> why its pictures wait, once nothing was heard for a while."""

    def take(self, event: Event) -> None:
        self.waiting = {}
        if event.job:
            self.jobs[event.job.id] = event.job
        if event.task and event.task.column in self._labels:
            image = event.task.image
            cells = self._rows.setdefault((image.id, image.filename), {})
            cells[self._labels[event.task.column]] = cell_text(event.task)
            if len(self._rows) > self._capacity:
                self._rows.popitem(last=False)

    def rows(self) -> list[tuple[str, list[Text]]]:
        waiting = Text("…", style="dim")
        return [
            (filename, [cells.get(head, waiting) for head in self.heads])
            for (_, filename), cells in self._rows.items()
        ]

    def line(self) -> str:
        """How far it is, in one line."""
        counts = [job.counts for job in self.jobs.values()]
        total, captioned = sum(c.total for c in counts), sum(c.captioned for c in counts)
        failed = sum(c.failed for c in counts)
        parts = [f"{captioned} of {total} captioned"]
        if failed:
            parts.append(f"{failed} failed")
        etas = [job.eta_seconds for job in self.jobs.values() if job.eta_seconds is not None]
        if etas and captioned + failed < total:
            parts.append(f"about {max(etas):.0f} s left")
        reasons = "".join(f"; {model} waits: {why}" for model, why in sorted(self.waiting.items()))
        return one_line(", ".join(parts) + reasons)
