"""What a copy has learned about its batches outlives it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from captionfleet_worker.batch_size import Known
from captionfleet_worker.learning import KeptSizes, Learning, about

ABOUT = about("revision-1", "NVIDIA L4", 4)


def grown(learning: Learning, options: dict[str, int], batches: int = 20) -> Learning:
    """On a machine where twice as many take as long."""
    for _ in range(batches):
        size = learning.size(options)
        learning.note(options, size, rate=size)
    return learning


def test_a_copy_goes_on_where_another_ended(tmp_path: Path) -> None:
    kept = KeptSizes(tmp_path / "data" / "sizes")
    assert Learning(8, kept, ABOUT).size({}) == 1
    grown(Learning(8, kept, ABOUT), {})
    again = Learning(8, kept, ABOUT)
    assert (again.size({}), again.chosen, again.prefetch) == (8, 8, 16)
    assert Learning(8, kept, about("revision-1", "NVIDIA L4", 8)).chosen is None


def test_memory_of_a_gpu_that_was_short_is_remembered(tmp_path: Path) -> None:
    kept = KeptSizes(tmp_path / "sizes")
    grown(Learning(8, kept, ABOUT), {}).limit({}, 4)
    again = Learning(8, kept, ABOUT)
    assert (again.allowed, again.size({}), again.prefetch) == (4, 4, 8)


def test_memory_that_was_short_for_a_moment_on_a_cpu_is_forgotten_with_the_copy(
    tmp_path: Path,
) -> None:
    kept = KeptSizes(tmp_path / "sizes")
    grown(Learning(8, kept, ABOUT), {})
    learning = Learning(8, kept, ABOUT, own_memory=False)
    learning.limit({}, 4)
    assert (learning.allowed, learning.size({}), learning.prefetch) == (4, 4, 8)
    assert Learning(8, kept, ABOUT).size({}) == 8


def test_a_cpu_heeds_no_shortage_that_was_written_down_once(tmp_path: Path) -> None:
    kept = KeptSizes(tmp_path / "sizes")
    Learning(8, kept, ABOUT).limit({}, 2)
    assert Learning(8, kept, ABOUT, own_memory=False).allowed == 8


@pytest.mark.parametrize("short", [lambda it: it.limit({}, 2), lambda it: it.doubt(4)])
def test_a_size_that_was_found_best_while_memory_was_short_is_not_kept(
    short: Callable[[Learning], None], tmp_path: Path
) -> None:
    kept = KeptSizes(tmp_path / "sizes")
    learning = Learning(8, kept, ABOUT, own_memory=False)
    short(learning)
    assert grown(learning, {}).chosen == 2
    assert Learning(8, kept, ABOUT).chosen is None


def test_memory_that_was_short_for_one_job_is_forgotten_with_the_copy(tmp_path: Path) -> None:
    kept = KeptSizes(tmp_path / "sizes")
    learning = grown(Learning(8, kept, ABOUT), {})
    learning.limit({"num_beams": 16}, 2)
    assert (learning.allowed, learning.size({}), learning.prefetch) == (2, 2, 4)
    grown(learning, {})
    again = Learning(8, kept, ABOUT)
    assert (again.allowed, again.size({})) == (8, 8)


def test_a_smaller_limit_of_the_manifest_binds_what_was_learned(tmp_path: Path) -> None:
    kept = KeptSizes(tmp_path / "sizes")
    grown(Learning(8, kept, ABOUT), {})
    again = Learning(4, kept, ABOUT)
    assert (again.allowed, again.size({}), again.prefetch) == (4, 4, 8)


def test_a_disk_that_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "sizes").touch()
    grown(Learning(8, KeptSizes(tmp_path / "sizes"), ABOUT), {})
    assert [file.name for file in tmp_path.iterdir()] == ["sizes"]


def test_other_options_are_learned_apart_and_not_kept(tmp_path: Path) -> None:
    kept = KeptSizes(tmp_path / "sizes")
    learning = grown(Learning(8, kept, ABOUT), {})
    for _ in range(40):
        size = learning.size({"num_beams": 4})
        learning.note({"num_beams": 4}, size, rate=1 / size)
    assert (learning.size({"num_beams": 4}), learning.size({})) == (1, 8)
    assert Learning(8, kept, ABOUT).chosen == 8


def test_a_file_of_no_sense_is_no_knowledge(tmp_path: Path) -> None:
    kept = KeptSizes(tmp_path / "sizes")
    grown(Learning(8, kept, ABOUT), {})
    [file] = (tmp_path / "sizes").iterdir()
    file.write_text("[")
    assert Learning(8, kept, ABOUT).chosen is None
    grown(Learning(8, kept, ABOUT), {})
    assert Learning(8, kept, ABOUT).chosen == 8


def test_workers_that_share_a_folder_keep_what_each_of_them_learned(tmp_path: Path) -> None:
    kept, slower = KeptSizes(tmp_path / "sizes"), about("revision-1", "AMD EPYC 7763", 4)
    grown(Learning(8, kept, ABOUT), {})
    grown(Learning(4, kept, slower), {})
    assert (Learning(8, kept, ABOUT).chosen, Learning(8, kept, slower).chosen) == (8, 4)


def test_a_worker_that_may_only_read_what_it_shares_keeps_what_it_learned_for_itself(
    tmp_path: Path,
) -> None:
    (tmp_path / "shared").touch()  # no folder: refuses even root
    kept = KeptSizes(tmp_path / "shared", tmp_path / "own")
    grown(Learning(8, kept, ABOUT), {})
    assert Learning(8, kept, ABOUT).chosen == 8


def test_of_two_folders_the_one_that_was_written_last_is_heard(tmp_path: Path) -> None:
    shared, own = KeptSizes(tmp_path / "shared"), KeptSizes(tmp_path / "own")
    for number, kept in enumerate((shared, own, shared)):
        kept.write(ABOUT, Known(chosen=number))
        [file] = kept.folder.iterdir()
        os.utime(file, (number, number))
        assert KeptSizes(tmp_path / "shared", tmp_path / "own").read(ABOUT).chosen == number


def test_what_was_learned_long_ago_is_forgotten_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("captionfleet_worker.learning._MOST_KEPT", 3)
    kept = KeptSizes(tmp_path / "sizes")
    for number in range(4):
        kept.write(f"model {number}", Known(chosen=2))
        file = max((tmp_path / "sizes").iterdir(), key=lambda each: each.stat().st_mtime_ns)
        os.utime(file, (number, number))
    kept.forget_oldest()
    assert (kept.read("model 0").chosen, kept.read("model 1").chosen) == (None, 2)
