"""The record of started workers: DATA/operator/workers.json. It lets the next operator adopt them.

A worker is recorded before it is started and again with its pid after, so that an operator that
dies in between leaves nothing behind that nobody knows.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class WorkerRecord:
    """One worker process. Times are Unix seconds."""

    pool: str
    launch: str
    """Among the arguments of the process, behind --launch."""
    begun: float
    """When starting it was decided."""
    pid: int | None = None
    """None until it runs."""
    started: float | None = None
    """Start time of the process: tells it from a later one with the same pid."""
    draining: float | None = None
    """When it was told to end."""
    grace: float = 300.0
    """Seconds it then has."""


class WorkersFile:
    """The record on disk, written whole by rename."""

    def __init__(self, data: Path) -> None:
        self._file = data / "operator" / "workers.json"

    def read(self) -> dict[str, WorkerRecord]:
        """Worker id -> record. Empty if there is no file; raises ValueError if it is damaged."""
        try:
            document = json.loads(self._file.read_text())
            return {id_: WorkerRecord(**fields) for id_, fields in document["workers"].items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self._file} is damaged ({error}): end the workers it spoke of, then remove it"
            ) from error

    def write(self, workers: dict[str, WorkerRecord]) -> None:
        document = {"workers": {id_: asdict(record) for id_, record in sorted(workers.items())}}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        fresh.write_text(json.dumps(document, indent=1))
        fresh.replace(self._file)
