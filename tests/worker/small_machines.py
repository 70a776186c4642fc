"""A machine with little memory, for processes that a test starts: this one is too large to fill."""

from pathlib import Path

_SITE = """
import os
from pathlib import Path

from captionfleet_worker import cgroup
from captionfleet_worker.memory_of import resident_memory


def used():
    here, taken = os.getcwd(), 0
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(each / "cwd") == here:
                taken += resident_memory(int(each.name))
        except OSError:
            pass
    return taken


cgroup.read_cgroup = lambda: cgroup.Cgroup({total}, used(), None)
"""


def small_machine(place: Path, total: int) -> dict[str, str]:
    """What to add to their environment: they see `total` bytes, used by all who work in the same
    folder, and nobody enforces it. `place` is a folder of the test's own."""
    (place / "sitecustomize.py").write_text(_SITE.replace("{total}", str(total)))
    return {"PYTHONPATH": str(place)}
