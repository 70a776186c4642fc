"""Why tasks wait, and how long."""

from hypothesis import given
from hypothesis import strategies as st

from captionfleet_api.jobs.waiting import (
    Load,
    ModelFacts,
    eta_seconds,
    vanished_sentence,
    waiting_sentence,
)

seconds = st.floats(0, 1e6)
facts = st.builds(
    ModelFacts,
    model=st.just("blip"),
    broker_trouble=st.sampled_from(["", "the broker cannot be reached: refused"]),
    listening_seconds=seconds,
    operator_age=st.none() | seconds,
    operator_sentence=st.none() | st.just("blip loads on w, 12 s of about 30 s"),
    consumers=st.integers(0, 5),
    rate=seconds,
)
loads = st.builds(Load, st.integers(0, 1000), st.floats(0, 100))


@given(facts)
def test_there_is_always_a_sentence(known: ModelFacts) -> None:
    assert waiting_sentence(known).strip()


@given(facts)
def test_an_old_sentence_of_the_operator_is_never_repeated(known: ModelFacts) -> None:
    if known.operator_age is None or known.operator_age > 10:
        assert "12 s of about 30 s" not in waiting_sentence(known)


@given(facts)
def test_a_lost_broker_is_told_before_anything_else(known: ModelFacts) -> None:
    if known.broker_trouble:
        assert waiting_sentence(known).startswith(known.broker_trouble)


def test_a_fresh_word_of_the_operator_is_passed_on() -> None:
    said = "blip loads on w, 12 s of about 30 s"
    known = ModelFacts("blip", operator_age=3, operator_sentence=said, consumers=1, rate=2)
    assert waiting_sentence(known) == said


def test_a_silent_operator_is_named_with_how_long() -> None:
    sentence = waiting_sentence(ModelFacts("blip", operator_age=34.4, listening_seconds=90))
    assert "last heard 34 s ago" in sentence
    assert "blip" in sentence


def test_an_operator_never_heard_is_no_accusation_just_after_connecting() -> None:
    assert "listening for the operator since 2 s" in waiting_sentence(
        ModelFacts("blip", listening_seconds=2)
    )
    assert "no operator was heard in 40 s" in waiting_sentence(
        ModelFacts("blip", listening_seconds=40)
    )


def test_captions_go_on_without_an_operator() -> None:
    known = ModelFacts("blip", operator_age=3600, consumers=2, rate=3.14159)
    assert waiting_sentence(known) == "waits for its turn at 2 workers, together 3.14 pictures/s"


def test_a_deleted_model_says_how_long_its_tasks_still_wait() -> None:
    assert "fail in 42 s" in vanished_sentence("blip", 41.7)


@given(st.lists(loads))
def test_the_slowest_model_decides_when_a_job_is_done(many: list[Load]) -> None:
    eta = eta_seconds(many)
    if eta is not None:
        assert all(load.ahead / load.rate <= eta for load in many if load.ahead)
        assert eta == 0 or any(load.ahead and load.ahead / load.rate == eta for load in many)


@given(st.lists(loads), st.integers(1, 100))
def test_an_unknown_speed_is_not_guessed(many: list[Load], ahead: int) -> None:
    assert eta_seconds([*many, Load(ahead, 0.0)]) is None


def test_a_job_without_open_tasks_is_done_now() -> None:
    assert eta_seconds([Load(0, 0.0)]) == 0
