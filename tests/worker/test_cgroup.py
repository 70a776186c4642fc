"""What a control group allows, read from both versions' files."""

from pathlib import Path

import psutil
import pytest

from captionfleet_worker.cgroup import (
    Cgroup,
    cores,
    memory_total,
    memory_used,
    read_cgroup,
)

GIB = 2**30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")


def read(root: Path, groups: str) -> Cgroup:
    proc = root / "self"
    proc.parent.mkdir(parents=True, exist_ok=True)
    proc.write_text(groups)
    return read_cgroup(proc, root)


def test_version_2_takes_the_tightest_limit_on_the_way_up(root: Path) -> None:
    write(root, {
        "pod/memory.max": str(2 * GIB), "pod/memory.current": str(GIB),
        "pod/memory.stat": f"anon 5\nfile_mapped 24\ninactive_file {GIB // 4}\nactive_file 100",
        "pod/cpu.max": "150000 100000",
        "pod/box/memory.max": "max", "pod/box/cpu.max": "max 100000",
    })  # fmt: skip
    assert read(root, "0::/pod/box\n") == Cgroup(2 * GIB, GIB - GIB // 4 - 76, 1.5)


def test_version_1_knows_no_limit_as_a_huge_number(root: Path) -> None:
    write(root, {
        "memory/pod/memory.limit_in_bytes": str(3 * GIB),
        "memory/pod/memory.usage_in_bytes": str(GIB),
        "memory/pod/memory.stat": "inactive_file 1\ntotal_mapped_file 4\ntotal_inactive_file 1028",
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "cpu/pod/cpu.cfs_quota_us": "400000", "cpu/pod/cpu.cfs_period_us": "100000",
        "cpu/cpu.cfs_quota_us": "-1",
    })  # fmt: skip
    groups = "4:memory:/pod\n3:cpu,cpuacct:/pod\n0::/\n"
    (root / "cpu,cpuacct").symlink_to("cpu")
    assert read(root, groups) == Cgroup(3 * GIB, GIB - 1024, 4.0)


def test_a_group_that_is_not_visible_here_is_looked_for_at_the_root(root: Path) -> None:
    write(root, {"memory.max": str(GIB), "memory.current": "10"})
    assert read(root, "0::/the/path/of/the/host\n").memory_limit == GIB


def test_without_limits_the_host_counts(root: Path) -> None:
    free = read(root, "0::/\n")
    assert free == Cgroup(None, None, None)
    assert memory_total(free) == psutil.virtual_memory().total
    assert 0 < memory_used(free) < memory_total(free)
    assert cores(free) >= 1


def test_a_limit_above_the_host_is_no_limit() -> None:
    host = psutil.virtual_memory().total
    assert memory_total(Cgroup(host * 2, 1, None)) == host
    assert memory_used(Cgroup(host // 2, 7, None)) == 7


@pytest.mark.parametrize(("cpus", "threads"), [(0.25, 1), (1.0, 1)])
def test_a_part_of_a_core_is_still_one_thread(cpus: float, threads: int) -> None:
    assert cores(Cgroup(None, None, cpus)) == threads
