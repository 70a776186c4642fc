"""What a trial concludes from what it saw."""

import pytest

from captionfleet_cli.trial.checks import (
    Result,
    Said,
    judge_batch,
    judge_determinism,
    judge_single,
    judge_timing,
    judge_unload,
)

A, B = Said("a.png", "a cat", seconds=0.5), Said("b.png", "a dog", seconds=0.5)
BROKEN = Said("b.png", None, "model_error: no")
GB = 10**9


def test_every_picture_must_get_a_caption() -> None:
    assert judge_single([A, B]).result == Result.OK
    check = judge_single([A, BROKEN])
    assert check.result == Result.FAILED
    assert check.told == "1 of 2 got no caption; b.png: model_error: no"


def test_other_captions_the_second_time_are_a_note() -> None:
    assert judge_determinism([A, B], [A, B]).result == Result.OK
    check = judge_determinism([A], [Said("a.png", "a " * 99)])
    assert check.result == Result.NOTE and "'a cat'" in check.told and "..." in check.told


def test_a_batch_must_say_what_single_pictures_say() -> None:
    assert judge_batch([A, B], [A, B], "", True).result == Result.OK
    check = judge_batch([A, B], [A, Said("b.png", "a cat")], "", True)
    assert check.result == Result.FAILED and "1 of 2 differ" in check.told
    assert judge_batch([A, B], [B, A], "", False).result == Result.OK
    assert judge_batch([A, B], [A, BROKEN], "", False).result == Result.FAILED
    assert judge_batch([A, B], [A, B], "returned 1 caption", True).result == Result.FAILED


def test_timing_compares_one_with_many() -> None:
    fast = [Said("a.png", "a cat", seconds=0.05)] * 8
    assert (
        "0.500 s per picture alone, 0.050 s in a batch of 8: 10.0 times"
        in judge_timing([A, B], fast).told
    )
    assert "saves no time" in judge_timing([A], [A]).told


@pytest.mark.parametrize(
    ("left", "problem", "expected"),
    [
        (GB // 10, None, Result.OK),
        (GB - 1, None, Result.NOTE),
        (GB // 10, "KeyError: 1", Result.FAILED),
        (None, None, Result.FAILED),
    ],
)
def test_unload_gives_memory_back(left: int | None, problem: str | None, expected: Result) -> None:
    assert judge_unload(GB, left, problem).result == expected
