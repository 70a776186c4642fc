"""Processes by a variable in their environment, by which a test finds all that it led to."""

import psutil


def variable(process: psutil.Process, name: str) -> str | None:
    """Its value there; None if it has none, or has ended."""
    try:
        try:
            return process.environ().get(name)
        except psutil.AccessDenied:  # a worker lets nobody but root look; its operator can be seen
            parent = process.parent()
            return variable(parent, name) if parent else None
    except (psutil.Error, OSError):
        return None


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
