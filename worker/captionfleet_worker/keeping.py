"""The last assignment, kept on disk so that an operator outage stops changes, not captions.

It may carry credentials: the file is readable by its owner alone and is never logged.
"""

import os
from pathlib import Path

import structlog
from pydantic import ValidationError

from captionfleet.messages import Assignment

log = structlog.get_logger()


def keep_assignment(file: Path, assignment: Assignment) -> None:
    """Replace the kept assignment. A disk that refuses is logged: captions matter more."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(assignment.encode())
        fresh.replace(file)
    except OSError as error:
        log.warning("assignment not kept", file=str(file), why=str(error))


def kept_assignment(file: Path, worker: str) -> Assignment | None:
    """What this worker kept last; None if there is nothing, or it is not readable, or another's."""
    try:
        assignment = Assignment.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
    return assignment if assignment.worker == worker else None
