"""What a worker does next: decisions on every mix of wanted models and copies."""

from hypothesis import given
from hypothesis import strategies as st

from captionfleet.messages import CopyState, Generation
from captionfleet_worker.reconcile import (
    Action,
    CopyFacts,
    Order,
    Verb,
    WantedCopy,
    next_actions,
    retry_pause,
)

NOW = 100.0
BUSY = (CopyState.LOADING, CopyState.DOWNLOADING)


def load(model: str) -> Action:
    return Action(Verb.LOAD, model)


def unload(model: str) -> Action:
    return Action(Verb.UNLOAD, model)


def ready(model: str, fingerprint: str = "f", code: str | None = None) -> CopyFacts:
    return CopyFacts(model, fingerprint, code, CopyState.READY)


F = WantedCopy("f", None)


def test_a_wanted_model_is_loaded_one_at_a_time() -> None:
    assert next_actions({"a": F, "b": F}, [], NOW, most_loads=1) == [load("a")]
    assert next_actions({"a": F, "b": F}, [], NOW, most_loads=2) == [load("a"), load("b")]
    loading = CopyFacts("a", "f", None, CopyState.LOADING)
    assert next_actions({"a": F, "b": F}, [loading], NOW, most_loads=1) == []


def test_a_copy_that_nobody_wants_is_unloaded_in_whatever_state() -> None:
    for state in CopyState:
        copy = CopyFacts("a", "f", None, state, retry_at=NOW + 1)
        expected = [] if state == CopyState.UNLOADING else [unload("a")]
        assert next_actions({}, [copy], NOW, most_loads=1) == expected


def test_another_fingerprint_or_other_code_replaces_the_copy() -> None:
    assert next_actions({"a": WantedCopy("g", None)}, [ready("a")], NOW, most_loads=1) == [
        unload("a")
    ]
    assert next_actions(
        {"a": WantedCopy("f", "new")}, [ready("a", code="old")], NOW, most_loads=1
    ) == [unload("a")]
    leaving = CopyFacts("a", "f", None, CopyState.UNLOADING)
    assert next_actions({"a": WantedCopy("g", None)}, [leaving], NOW, most_loads=1) == []


def test_a_failed_copy_is_tried_again_when_its_time_has_come() -> None:
    waiting = CopyFacts("a", "f", None, CopyState.FAILED, retry_at=NOW + 1)
    due = CopyFacts("a", "f", None, CopyState.FAILED, retry_at=NOW)
    assert next_actions({"a": F}, [waiting], NOW, most_loads=1) == []
    assert next_actions({"a": F}, [due], NOW, most_loads=1) == [load("a")]


def test_a_model_that_keeps_failing_does_not_hold_up_a_fresh_one() -> None:
    due = CopyFacts("a", "f", None, CopyState.FAILED, retry_at=NOW)
    assert next_actions({"a": F, "b": F}, [due], NOW, most_loads=1) == [load("b")]


def test_a_failed_copy_is_forgotten_at_once_when_its_spec_changes() -> None:
    failed = CopyFacts("a", "f", None, CopyState.FAILED, retry_at=NOW + 300)
    assert next_actions({"a": WantedCopy("g", None)}, [failed], NOW, most_loads=1) == [unload("a")]


names = st.sampled_from("abc")
wishes = st.dictionaries(names, st.builds(WantedCopy, st.sampled_from("fg"), st.none()))
copies = st.lists(
    st.builds(
        CopyFacts, names, st.sampled_from("fg"), st.none(), st.sampled_from(list(CopyState)),
        st.sampled_from([NOW - 1, NOW + 1]),
    ),
    unique_by=lambda each: each.model,
)  # fmt: skip


@given(wishes, copies, st.integers(1, 3))
def test_obeying_again_and_again_ends_with_exactly_what_is_wanted(
    wanted: dict[str, WantedCopy], there: list[CopyFacts], most: int
) -> None:
    now = NOW
    for _ in range(30):
        actions = next_actions(wanted, there, now, most_loads=most)
        assert len({action.model for action in actions}) == len(actions)
        there = _finish(_carry_out(there, actions, wanted))
        assert sum(copy.state in BUSY for copy in there) <= max(most, 3)
        now += 1
    assert {copy.model: copy.fingerprint for copy in there} == {
        model: each.fingerprint for model, each in wanted.items()
    }
    assert all(copy.state == CopyState.READY for copy in there)


def _carry_out(
    there: list[CopyFacts], actions: list[Action], wanted: dict[str, WantedCopy]
) -> list[CopyFacts]:
    copies = {copy.model: copy for copy in there}
    for action in actions:
        if action.verb == Verb.LOAD:
            assert action.model not in copies or copies[action.model].state == CopyState.FAILED
            copies[action.model] = CopyFacts(
                action.model, wanted[action.model].fingerprint, None, CopyState.LOADING
            )
        else:
            old = copies[action.model]
            copies[action.model] = CopyFacts(old.model, old.fingerprint, None, CopyState.UNLOADING)
    return list(copies.values())


def _finish(there: list[CopyFacts]) -> list[CopyFacts]:
    """What loads becomes ready, what unloads is gone."""
    return [
        ready(copy.model, copy.fingerprint) if copy.state in BUSY else copy
        for copy in there
        if copy.state != CopyState.UNLOADING
    ]


def test_retries_come_later_and_later_up_to_a_limit() -> None:
    assert [retry_pause(n, retriable=True) for n in (1, 2, 3, 99)] == [5, 10, 20, 300]
    assert [retry_pause(n, retriable=False) for n in (1, 2, 99)] == [60, 120, 900]


def generation(incarnation: str, counter: int) -> Generation:
    return Generation(incarnation=incarnation, counter=counter)


def test_within_one_incarnation_the_counter_decides() -> None:
    order = Order().after(generation("one", 5))
    assert order.accepts(generation("one", 5))
    assert order.accepts(generation("one", 6))
    assert not order.accepts(generation("one", 4))


def test_a_new_incarnation_wins_whatever_its_counter_and_the_old_never_returns() -> None:
    order = Order().after(generation("one", 500))
    assert order.accepts(generation("two", 1))
    order = order.after(generation("two", 1))
    assert not order.accepts(generation("one", 501))
    assert order.accepts(generation("three", 0))
