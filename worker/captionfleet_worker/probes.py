"""What a worker says when it is asked whether it has started, lives, and takes work. Pure.

Liveness never depends on the broker: ending a worker mends no broker.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Health:
    """What the probes are answered from."""

    started: bool
    """The broker has confirmed a heartbeat in this process's life."""
    draining: bool
    trouble: str
    """Why there is no session with the broker; empty while there is one."""


@dataclass(frozen=True)
class Told:
    """Yes or no, with one sentence for people."""

    good: bool
    sentence: str


def probe(path: str, health: Health) -> Told | None:
    """The answer to GET /startupz, /livez or /readyz; None for any other path."""
    if path == "/livez":
        return Told(True, "the agent's loop turns")
    if path == "/startupz":
        return _started(health)
    if path == "/readyz":
        if health.draining:
            return Told(False, "draining: it finishes what it runs and takes nothing new")
        return _started(health)
    return None


def _started(health: Health) -> Told:
    if health.started:
        return Told(True, "started: the broker has confirmed a heartbeat")
    why = health.trouble or "the first one is on its way"
    return Told(False, f"not started: no heartbeat was confirmed by the broker: {why}")
