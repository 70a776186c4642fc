"""What a copy has learned about its batches outlives it."""

from pathlib import Path

from captionfleet_worker.learning import KeptSizes, Learning, about

ABOUT = about("revision-1", "NVIDIA L4", 4)


def grown(learning: Learning, options: dict[str, int], batches: int = 20) -> Learning:
    """On a machine where twice as many take as long."""
    for _ in range(batches):
        size = learning.size(options)
        learning.note(options, size, rate=size)
    return learning


def test_a_copy_goes_on_where_another_ended(tmp_path: Path) -> None:
    kept = KeptSizes(tmp_path / "data" / "sizes.json")
    assert Learning(8, kept, ABOUT).size({}) == 1
    grown(Learning(8, kept, ABOUT), {})
    again = Learning(8, kept, ABOUT)
    assert (again.size({}), again.chosen, again.prefetch) == (8, 8, 16)
    assert Learning(8, kept, about("revision-1", "NVIDIA L4", 8)).chosen is None


def test_memory_that_was_short_is_remembered(tmp_path: Path) -> None:
    kept = KeptSizes(tmp_path / "sizes.json")
    grown(Learning(8, kept, ABOUT), {}).limit({}, 4)
    again = Learning(8, kept, ABOUT)
    assert (again.allowed, again.size({}), again.prefetch) == (4, 4, 8)


def test_memory_that_was_short_for_one_job_is_forgotten_with_the_copy(tmp_path: Path) -> None:
    kept = KeptSizes(tmp_path / "sizes.json")
    learning = grown(Learning(8, kept, ABOUT), {})
    learning.limit({"num_beams": 16}, 2)
    assert (learning.allowed, learning.size({}), learning.prefetch) == (2, 2, 4)
    grown(learning, {})
    again = Learning(8, kept, ABOUT)
    assert (again.allowed, again.size({})) == (8, 8)


def test_a_smaller_limit_of_the_manifest_binds_what_was_learned(tmp_path: Path) -> None:
    kept = KeptSizes(tmp_path / "sizes.json")
    grown(Learning(8, kept, ABOUT), {})
    again = Learning(4, kept, ABOUT)
    assert (again.allowed, again.size({}), again.prefetch) == (4, 4, 8)


def test_a_disk_that_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "sizes.json").mkdir()
    grown(Learning(8, KeptSizes(tmp_path / "sizes.json"), ABOUT), {})
    assert [file.name for file in tmp_path.iterdir()] == ["sizes.json"]


def test_other_options_are_learned_apart_and_not_kept(tmp_path: Path) -> None:
    kept = KeptSizes(tmp_path / "sizes.json")
    learning = grown(Learning(8, kept, ABOUT), {})
    for _ in range(40):
        size = learning.size({"num_beams": 4})
        learning.note({"num_beams": 4}, size, rate=1 / size)
    assert (learning.size({"num_beams": 4}), learning.size({})) == (1, 8)
    assert Learning(8, kept, ABOUT).chosen == 8


def test_a_file_of_no_sense_is_no_knowledge(tmp_path: Path) -> None:
    (tmp_path / "sizes.json").write_text("[")
    kept = KeptSizes(tmp_path / "sizes.json")
    assert Learning(8, kept, ABOUT).chosen is None
    grown(Learning(8, kept, ABOUT), {})
    assert Learning(8, kept, ABOUT).chosen == 8
