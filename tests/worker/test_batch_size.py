"""The size of batches, learned on machines that are made up."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captionfleet_worker.batch_size import (
    Known,
    allowed,
    ladder,
    next_size,
    noted,
    prefetch,
    shortened,
)

Machine = Callable[[int], float]


def cpu(size: int) -> float:
    """Pictures per second: as measured for BLIP-base on one core."""
    return {1: 0.281, 2: 0.33, 4: 0.376, 8: 0.332}.get(size, 0.3)


def gpu(size: int) -> float:
    """Each step of the decoder costs the same for any number of rows."""
    return size / (0.05 + 0.001 * size)


def flat(size: int) -> float:
    return 3.0


def learned(machine: Machine, most: int, known: Known | None = None, batches: int = 40) -> Known:
    known = known or Known()
    for _ in range(batches):
        size = next_size(known, most)
        known = noted(known, most, size, machine(size))
    return known


@pytest.mark.parametrize(
    ("machine", "most", "best"),
    [(cpu, 64, 4), (cpu, 3, 2), (gpu, 64, 64), (gpu, 48, 48), (flat, 64, 1), (gpu, 1, 1)],
)
def test_each_machine_finds_its_size(machine: Machine, most: int, best: int) -> None:
    known = learned(machine, most)
    assert known.chosen == next_size(known, most) == best
    assert prefetch(known, most) == 2 * best


def test_sizes_that_cannot_help_are_not_tried() -> None:
    assert set(learned(flat, 64).rates) == {1, 2, 4}
    assert set(learned(cpu, 64).rates) == {1, 2, 4, 8, 16}


def test_the_first_batches_of_a_size_may_be_slow() -> None:
    known = Known()
    for _ in range(40):
        size = next_size(known, 64)
        warm = known.batches.get(size, 0) > 0
        known = noted(known, 64, size, gpu(size) * (1 if warm else 0.2))
    assert known.chosen == 64


def test_a_small_lead_replaces_nothing_and_a_large_one_does() -> None:
    known = learned(cpu, 8)
    slower = learned(lambda size: 0.345, 8, known)
    assert slower.chosen == 4
    assert learned(lambda size: 0.2 if size == 4 else cpu(size), 8, known).chosen == 2


def test_what_does_not_fit_is_not_tried_again() -> None:
    known = shortened(learned(gpu, 64), 64, 16)
    assert allowed(known, 64) == next_size(known, 64) == 16
    assert learned(gpu, 64, known).chosen == 16
    assert shortened(known, 64, 32).safe == 16


def test_memory_that_is_short_during_the_search_ends_it() -> None:
    known = Known()
    for _ in range(40):
        size = next_size(known, 64)
        fits = size <= 8
        known = noted(known, 64, size, gpu(size)) if fits else shortened(known, 64, 8)
    assert (known.chosen, known.safe) == (8, 8)


@given(st.lists(st.floats(0.01, 1000), min_size=80, max_size=80), st.integers(1, 512))
def test_the_search_tries_each_size_twice_at_most_and_stays_within_its_bounds(
    rates: list[float], most: int
) -> None:
    """Rates that swing may begin it again, for sizes that were never tried."""
    known, tried = Known(), 0
    for rate in rates:
        size = next_size(known, most)
        assert size in ladder(most)
        assert size <= prefetch(known, most) <= 2 * most
        tried += known.chosen is None
        known = noted(known, most, size, rate)
    assert tried <= 2 * len(ladder(most))
