"""From tokens to words: prompts cut off, prefixes put back, thoughts left out."""

from hypothesis import given
from hypothesis import strategies as st

from captionfleet_worker.engine.wording import Thoughts, without_thoughts

OPEN, CLOSE = 90, 91
THOUGHTS = Thoughts(frozenset({OPEN}), frozenset({CLOSE}))


def test_what_stands_outside_of_thoughts_is_the_caption() -> None:
    assert THOUGHTS.spoken([OPEN, 1, 2, CLOSE, 3, 4]) == [3, 4]
    assert THOUGHTS.spoken([3, 4]) == [3, 4]
    assert THOUGHTS.spoken([3, OPEN, 1, CLOSE, 4]) == [4]


def test_a_thought_may_have_been_opened_by_the_template_or_by_nobody() -> None:
    assert THOUGHTS.open_after([7, OPEN, 8]) and not THOUGHTS.open_after([7, OPEN, CLOSE, 8])
    assert THOUGHTS.spoken([1, 2, CLOSE, 3], thinking=True) == [3]
    assert THOUGHTS.spoken([1, 2, CLOSE, 3]) == [3]


def test_who_is_cut_off_in_thought_said_nothing() -> None:
    assert THOUGHTS.spoken([OPEN, 1, 2]) is None
    assert THOUGHTS.spoken([1, 2], thinking=True) is None
    assert Thoughts().spoken([OPEN, 1]) == [OPEN, 1]


def test_thoughts_in_plain_text_are_left_out_too() -> None:
    assert without_thoughts("<think>\nHm.\n</think>\n\nA cat.") == "\n\nA cat."
    assert without_thoughts("Hm.</think>A cat.") == "A cat."
    assert without_thoughts("A cat.<think>Or") == "A cat."
    assert without_thoughts("A cat.") == "A cat."


@given(st.lists(st.sampled_from([1, 2, OPEN, CLOSE]), max_size=30), st.booleans())
def test_no_thought_gets_into_a_caption(written: list[int], thinking: bool) -> None:
    said = THOUGHTS.spoken(written, thinking)
    assert said is None or not {OPEN, CLOSE} & set(said)
    if CLOSE in written:
        after = written[len(written) - written[::-1].index(CLOSE) :]
        assert (said or []) == (after[: after.index(OPEN)] if OPEN in after else after)
