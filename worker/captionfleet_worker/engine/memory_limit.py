"""How much memory an engine with a person's code may take, so that it cannot take the machine.

Beyond it Python raises MemoryError where the code stands, which fails that picture or load alone.
On a GPU there is no such limit: its driver maps far more than it uses.
"""

import resource
from dataclasses import dataclass

from captionfleet.resources.model import Requirements
from captionfleet_worker.cgroup import memory_total, read_cgroup

_BESIDE_STATED = 2 * 2**30
"""Bytes for libraries and for what a batch takes for a moment; what is mapped counts in full."""
_MOST_PERCENT = 90
"""Of the worker's memory: the agent and other engines need some too."""


@dataclass(frozen=True)
class MemoryLimit:
    """Bytes, and where they come from in words."""

    size: int
    why: str

    def __str__(self) -> str:
        return f"this engine may take {self.size / 1e9:.1f} GB: {self.why}"


def memory_limit(requirements: Requirements, total: int) -> MemoryLimit:
    """`total`: bytes that the worker may use."""
    most = MemoryLimit(
        total * _MOST_PERCENT // 100, f"{_MOST_PERCENT} % of the worker's {total / 1e9:.1f} GB"
    )
    stated = requirements.bytes_on("CPU")
    if stated is None or stated + _BESIDE_STATED > most.size:
        return most
    why = f"spec.requirements.memory and {_BESIDE_STATED / 1e9:.1f} GB beside it"
    return MemoryLimit(stated + _BESIDE_STATED, why)


def set_memory_limit(requirements: Requirements, device: str) -> MemoryLimit | None:
    """Of this process and what it starts, each. None on a GPU."""
    if device != "cpu":
        return None
    limit = memory_limit(requirements, memory_total(read_cgroup()))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    size = limit.size if hard == resource.RLIM_INFINITY else min(limit.size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    return limit
