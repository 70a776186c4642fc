"""Sides are compared only where they were asked the same, with the same threads."""

import pytest
from benchmarks.worker.figures import differing, equal_threads, faster


def test_a_few_captions_may_differ_and_are_counted() -> None:
    assert differing("naive", ["a", "b", "c"], ["a", "b", "d"], most=1) == 1


def test_more_than_a_few_are_refused_with_an_example() -> None:
    with pytest.raises(RuntimeError, match=r"2 of 3 captions .* of naive differ.*'b' and 'x'"):
        differing("naive", ["a", "b", "c"], ["a", "x", "y"], most=1)


def test_other_threads_are_refused_with_the_sides_named() -> None:
    with pytest.raises(RuntimeError, match="worker 2, naive 1"):
        equal_threads({"worker": 2, "naive": 1})


def test_the_same_threads_are_taken() -> None:
    equal_threads({"worker": 2, "naive": 2, "plain": 2})


def test_a_ratio_is_told_per_round() -> None:
    assert faster("M1", [2.0, 3.0], [1.0, 2.0], 0.97)["ratios"] == [2.0, 1.5]
