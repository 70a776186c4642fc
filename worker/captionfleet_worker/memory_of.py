"""How much main memory a process takes."""

from pathlib import Path


def resident_memory(pid: int) -> int:
    """Bytes: its proportional share (PSS), pages that others use too counted in part.

    Raises OSError or ProcessLookupError if there is no such process.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
