"""How much memory an engine may take on a CPU, so that it cannot take the machine.

Beyond it memory is refused where it is asked for, which fails that batch, picture or load of own
code alone; without it the kernel would end the engine, or a whole pod. There is none while a
transformers model loads, whose mapped files would count in full, and none on a GPU, whose driver
maps far more than it uses.
"""

import resource
import time
from dataclasses import dataclass
from pathlib import Path

from captionfleet.resources.model import Requirements
from captionfleet.sizes import gigabytes
from captionfleet_worker.cgroup import memory_total, memory_used, read_cgroup

_BESIDE_STATED = 2 * 2**30
"""Bytes for libraries and for what a batch takes for a moment; what is mapped counts in full."""
_KEPT_PERCENT = 5
_KEPT_AT_MOST = 2**30
"""Of the worker's memory: the agent needs some too, and others may grow at the same moment."""
_LEAST = 32 * 2**20
"""What an engine may take even where nothing is free: enough to say so."""
_STACK = 8 * 2**20
"""Of a thread, as a rule. It counts in full once it is mapped, and a library that cannot start its
threads ends the process."""
_PERIOD_SECONDS = 1.0
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Memory:
    """What there is at one moment. All in bytes."""

    total: int
    """That the worker may use."""
    free: int
    """Of that, used by nobody."""
    mapped: int
    """By this process already, as the limit counts it: used or not."""
    threads: int = 0
    """Of this process, whose stacks are mapped."""


@dataclass(frozen=True)
class Allowed:
    """Bytes, and where they come from in words."""

    size: int
    why: str

    def __str__(self) -> str:
        return f"this engine may take {gigabytes(self.size)}: {self.why}"


def allowed(requirements: Requirements, memory: Memory, threads: int) -> Allowed:
    """`threads`: most that the engine will have."""
    least = memory.mapped + _LEAST + max(0, threads - memory.threads) * _STACK
    kept = min(memory.total * _KEPT_PERCENT // 100, _KEPT_AT_MOST)
    left = Allowed(
        max(memory.mapped + memory.free - kept, least),
        f"what others leave of the worker's {gigabytes(memory.total)}",
    )
    stated = requirements.bytes_on("CPU")
    if stated is None or stated + _BESIDE_STATED > left.size:
        return left
    why = f"spec.requirements.memory and {gigabytes(_BESIDE_STATED)} beside it"
    return Allowed(max(stated + _BESIDE_STATED, least), why)


def memory_now() -> Memory | None:
    """None where the kernel does not tell what it counts."""
    cgroup = read_cgroup()
    total, told = memory_total(cgroup), _told()
    if "VmData" not in told:
        return None
    free = total - memory_used(cgroup)
    return Memory(total, free, int(told["VmData"]) * 1024, int(told["Threads"]))


class MemoryLimit:
    """The limit of this process, and of what it starts, each; as text, what it is now.

    There is none before it was set once. What is free changes while other models come and go, so
    it is set anew before a batch is prepared, and before it runs.
    """

    def __init__(self, requirements: Requirements, threads: int) -> None:
        self._requirements = requirements
        self._threads = threads
        self._allowed: Allowed | None = None
        self._set_at = float("-inf")

    def renew(self) -> None:
        """Once a second at most: a look takes about as long as a small batch."""
        if time.monotonic() - self._set_at >= _PERIOD_SECONDS:
            self.set()

    def set(self) -> None:
        self._set_at = time.monotonic()
        if memory := memory_now():
            self._allowed = allowed(self._requirements, memory, self._threads)
            _set(self._allowed.size)

    def __str__(self) -> str:
        return str(self._allowed or "no limit is known for it")


def _set(size: int) -> None:
    # The hard limit stays: who lowers that cannot raise it again.
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(
        resource.RLIMIT_DATA, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard)
    )


def _told() -> dict[str, str]:
    """What the kernel tells of this process: sizes in kB, without their unit."""
    lines = (line.partition(":") for line in _STATUS.read_text().splitlines())
    return {name: told.split()[0] for name, _, told in lines if told.strip()}
