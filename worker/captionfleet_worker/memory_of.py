"""How much main memory a process takes."""

import os
from pathlib import Path


def resident_memory(pid: int) -> int:
    """Bytes: its proportional share (PSS), pages that others use too counted in part.

    Of one that lets nobody look, such as a fetcher, all that is resident. Raises OSError or
    ProcessLookupError if there is no such process.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    for line in lines:
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
