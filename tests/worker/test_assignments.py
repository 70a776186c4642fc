"""Which assignment counts, and what is kept of it."""

from pathlib import Path

import pytest
from tests.worker.stand_ins import wanted

from captionfleet.messages import Assignment, Generation, ModelAssignment, Wanted
from captionfleet_worker.assignments import Assignments


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "assignment.json"


@pytest.fixture
def assignments(file: Path) -> Assignments:
    return Assignments("w1", file)


def message(counter: int, *models: str, worker: str = "w1", incarnation: str = "i") -> bytes:
    generation = Generation(incarnation=incarnation, counter=counter)
    named = {model: wanted() for model in models}
    return Assignment(worker=worker, generation=generation, models=named).encode()


def test_a_repetition_changes_nothing_but_its_age(assignments: Assignments) -> None:
    assert assignments.hear(message(1, "a"))
    assert not assignments.hear(message(2, "a"))
    assert assignments.generation == Generation(incarnation="i", counter=2)
    assert assignments.hear(message(3, "a", "b"))


def test_older_and_foreign_assignments_are_not_obeyed(assignments: Assignments) -> None:
    assignments.hear(message(5, "a"))
    assert not assignments.hear(message(4))
    assert not assignments.hear(message(6, worker="another"))
    assert list(assignments.loaded()) == ["a"]


def test_only_models_to_be_loaded_are_loaded(assignments: Assignments) -> None:
    models = {
        state.value: ModelAssignment(state=state, fingerprint="f", spec={}) for state in Wanted
    }
    generation = Generation(incarnation="i", counter=1)
    assignments.hear(Assignment(worker="w1", generation=generation, models=models).encode())
    assert list(assignments.loaded()) == ["loaded"]
    assert set(assignments.models) == {"loaded", "cached", "absent"}


def test_noise_is_refused_without_being_shown(assignments: Assignments) -> None:
    with pytest.raises(ValueError, match="no assignment: 3 problems") as refusal:
        assignments.hear(b'{"password": "hunter2"}')
    assert "hunter2" not in str(refusal.value)
    assert not assignments.known


def test_the_last_one_is_resumed_by_the_same_worker_only(
    assignments: Assignments, file: Path
) -> None:
    assignments.hear(message(7, "a"))
    heir = Assignments("w1", file)
    assert heir.resume()
    assert list(heir.loaded()) == ["a"]
    assert not Assignments("w2", file).resume()


def test_a_resumed_assignment_gives_way_to_any_operator(
    assignments: Assignments, file: Path
) -> None:
    assignments.hear(message(700, "a"))
    heir = Assignments("w1", file)
    heir.resume()
    assert heir.hear(message(1, "b", incarnation="later"))
    assert list(heir.loaded()) == ["b"]
    assert not heir.resume(), "an operator has spoken"


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe"])
def test_a_broken_file_is_as_good_as_none(content: bytes, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    assert not Assignments("w1", file).resume()


def test_a_disk_that_refuses_does_not_stop_captions(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where a folder should be")
    assignments = Assignments("w1", tmp_path / "blocked" / "assignment.json")
    assert assignments.hear(message(1, "a"))
    assert list(assignments.loaded()) == ["a"]


def coded(content: str | None, fingerprint: str = "f1", state: Wanted = Wanted.LOADED) -> bytes:
    """An assignment of model a: with its code, or with the code left out."""
    files = [] if content is None else [{"path": "mine.py", "content": content}]
    spec = {"custom": {"entrypoint": "mine:Mine", "files": files}}
    each = ModelAssignment(
        state=state, fingerprint=fingerprint, spec=spec, code_left_out=content is None
    )
    generation = Generation(incarnation="i", counter=1)
    return Assignment(worker="w1", generation=generation, models={"a": each}).encode()


def test_code_that_is_left_out_stays_as_it_was_also_on_the_disk(
    assignments: Assignments, file: Path
) -> None:
    assignments.hear(coded("class Mine: ..."))
    assert not assignments.hear(coded(None))
    assert assignments.hear(coded(None, state=Wanted.CACHED))
    assert assignments.hear(coded(None))
    again = Assignments("w1", file)
    assert again.resume()
    for each in (assignments, again):
        files = each.loaded()["a"].spec["custom"]["files"]
        assert files == [{"path": "mine.py", "content": "class Mine: ..."}]


def test_a_model_is_not_loaded_before_its_code_comes(assignments: Assignments) -> None:
    assignments.hear(coded(None))
    assert assignments.known and not assignments.loaded()
    assert assignments.hear(coded("class Mine: ..."))
    assert list(assignments.loaded()) == ["a"]


def test_code_of_another_fingerprint_is_not_taken_for_what_was_left_out(
    assignments: Assignments,
) -> None:
    assignments.hear(coded("class Mine: ...", fingerprint="f0"))
    assert not assignments.hear(coded(None, fingerprint="f1"))
    assert assignments.loaded()["a"].fingerprint == "f0"  # until the code comes


def test_going_back_to_the_code_of_a_copy_that_serves_needs_no_code(
    assignments: Assignments,
) -> None:
    assignments.hear(coded("class Old: ...", fingerprint="old"))
    copies = list(assignments.loaded().items())
    assignments.hear(coded("class New: ...", fingerprint="new"), copies)
    assert assignments.hear(coded(None, fingerprint="old"), copies)
    back = assignments.loaded()["a"]
    assert back.fingerprint == "old" and back.spec == copies[0][1].spec
