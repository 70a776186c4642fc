"""The release window: enough that no engine idles, never more than the broker should hold."""

from hypothesis import given
from hypothesis import strategies as st
from tests.api.flow_parts import copy_of

from captionfleet.messages import Copy, CopyState
from captionfleet_api.jobs.release_window import (
    LARGEST_BYTES,
    Released,
    Window,
    fitting,
    room,
    window,
)

counts = st.integers(0, 10_000)
copies = st.builds(
    Copy,
    model=st.just("m"),
    fingerprint=st.just("f"),
    state=st.sampled_from(CopyState),
    consuming=st.booleans(),
    max_batch_size=st.integers(1, 64),
    batch_size=st.none() | st.integers(1, 64),
    rates=st.dictionaries(st.integers(1, 64), st.floats(0.001, 10_000), max_size=5),
)


def test_nothing_is_released_without_a_consumer() -> None:
    assert window([]) == Window(0, 0)
    assert window([copy_of("m", consuming=False)]) == Window(0, 0)
    assert window([copy_of("m", state=CopyState.UNLOADING)]) == Window(0, 0)


def test_a_slow_copy_gets_three_of_the_batches_that_it_takes() -> None:
    slow = copy_of("m", rates={1: 0.5, 4: 0.9}, max_batch_size=8, batch_size=4)
    assert window([slow]).pictures == 12


def test_a_fast_copy_gets_two_seconds_of_work() -> None:
    assert window([copy_of("m", rates={4: 100.0}, max_batch_size=4)]).pictures == 200


def test_a_copy_that_was_never_measured_gets_three_of_its_largest_batches() -> None:
    assert window([copy_of("m", rates={}, max_batch_size=8)]).pictures == 24


def test_a_copy_that_tries_a_larger_batch_gets_three_of_these() -> None:
    trying = copy_of("m", rates={1: 0.5}, max_batch_size=8, batch_size=2)
    assert window([trying]).pictures == 6


@given(st.lists(copies))
def test_every_ready_consumer_adds_at_least_one_picture_and_one_suspect(many: list[Copy]) -> None:
    ready = [c for c in many if c.consuming and c.state is CopyState.READY]
    whole = window(many)
    assert whole.suspects == len(ready)
    assert whole.pictures == sum(window([copy]).pictures for copy in ready) >= len(ready)


@given(st.builds(Window, counts, counts), st.builds(Released, counts, counts, counts))
def test_the_room_is_what_the_window_leaves_and_never_negative(w: Window, r: Released) -> None:
    left = room(w, r)
    assert left.pictures == max(0, w.pictures - r.pictures)
    assert left.suspects == max(0, w.suspects - r.suspects)
    assert 0 <= left.picture_bytes <= LARGEST_BYTES


@given(st.lists(st.integers(1, 1000)), counts)
def test_what_fits_is_the_longest_head_within_the_bytes(sizes: list[int], space: int) -> None:
    count = fitting(sizes, space)
    assert sum(sizes[:count]) <= space
    assert count == len(sizes) or sum(sizes[: count + 1]) > space
