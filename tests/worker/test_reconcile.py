"""What a worker does next: decisions on every mix of wanted models and copies."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from captionfleet.messages import Change, CopyState, Generation, Wanted
from captionfleet_worker.reconcile import (
    Action,
    CopyFacts,
    FilesFacts,
    Order,
    Verb,
    WantedCopy,
    next_actions,
    next_files,
    retry_pause,
)

NOW = 100.0
BUSY = (CopyState.LOADING, CopyState.DOWNLOADING)


def load(model: str, number: int = 0) -> Action:
    return Action(Verb.LOAD, model, number)


def unload(model: str, number: int = 0) -> Action:
    return Action(Verb.UNLOAD, model, number)


def ready(model: str, fingerprint: str = "f", code: str | None = None) -> CopyFacts:
    return CopyFacts(model, fingerprint, code, CopyState.READY, serves=True)


F = WantedCopy("f", None)


def test_a_wanted_model_is_loaded_once() -> None:
    assert next_actions({"a": F, "b": F}, [], NOW) == [load("a"), load("b")]
    loading = CopyFacts("a", "f", None, CopyState.LOADING)
    assert next_actions({"a": F, "b": F}, [loading], NOW) == [load("b")]


def test_a_copy_that_nobody_wants_is_unloaded_in_whatever_state() -> None:
    for state in CopyState:
        copy = CopyFacts("a", "f", None, state, retry_at=NOW + 1)
        expected = [] if state == CopyState.UNLOADING else [unload("a")]
        assert next_actions({}, [copy], NOW) == expected


def test_another_fingerprint_or_other_code_replaces_the_copy() -> None:
    assert next_actions({"a": WantedCopy("g", None)}, [ready("a")], NOW) == [unload("a")]
    assert next_actions({"a": WantedCopy("f", "new")}, [ready("a", code="old")], NOW) == [
        unload("a")
    ]
    leaving = CopyFacts("a", "f", None, CopyState.UNLOADING)
    assert next_actions({"a": WantedCopy("g", None)}, [leaving], NOW) == []


def test_a_failed_copy_is_tried_again_when_its_time_has_come() -> None:
    waiting = CopyFacts("a", "f", None, CopyState.FAILED, retry_at=NOW + 1)
    due = CopyFacts("a", "f", None, CopyState.FAILED, retry_at=NOW)
    assert next_actions({"a": F}, [waiting], NOW) == []
    assert next_actions({"a": F}, [due], NOW) == [load("a")]


def test_a_model_that_keeps_failing_does_not_hold_up_a_fresh_one() -> None:
    due = CopyFacts("a", "f", None, CopyState.FAILED, retry_at=NOW)
    assert next_actions({"a": F, "b": F}, [due], NOW) == [load("b"), load("a")]


def test_a_failed_copy_is_forgotten_at_once_when_its_spec_changes() -> None:
    failed = CopyFacts("a", "f", None, CopyState.FAILED, retry_at=NOW + 300)
    assert next_actions({"a": WantedCopy("g", None)}, [failed], NOW) == [unload("a")]


BESIDE = WantedCopy("g", None, Change.BESIDE)


def successor(state: CopyState, retry_at: float | None = None) -> CopyFacts:
    return CopyFacts("a", "g", None, state, retry_at, number=1, serves=state == CopyState.READY)


def test_a_successor_is_loaded_beside_the_copy_that_serves_and_then_takes_over() -> None:
    assert next_actions({"a": BESIDE}, [ready("a")], NOW) == [load("a")]
    both = [ready("a"), successor(CopyState.LOADING)]
    assert next_actions({"a": BESIDE}, both, NOW) == []
    both = [ready("a"), successor(CopyState.READY)]
    assert next_actions({"a": BESIDE}, both, NOW) == [unload("a")]


def test_a_successor_that_fails_leaves_the_old_copy_serving_and_is_tried_again() -> None:
    both = [ready("a"), successor(CopyState.FAILED, NOW + 1)]
    assert next_actions({"a": BESIDE}, both, NOW) == []
    assert next_actions({"a": BESIDE}, both, NOW + 1) == [load("a", 1)]


def test_a_copy_on_hold_goes_on_and_nothing_is_loaded_beside_it() -> None:
    wish = WantedCopy("g", None, Change.HOLD)
    assert next_actions({"a": wish}, [ready("a")], NOW) == []


def test_a_third_spec_drops_the_successor_and_not_the_copy_that_serves() -> None:
    third = WantedCopy("h", None, Change.BESIDE)
    both = [ready("a"), successor(CopyState.LOADING)]
    assert next_actions({"a": third}, both, NOW) == [unload("a", 1)]


def test_a_model_that_is_wanted_no_more_loses_both_copies() -> None:
    both = [ready("a"), successor(CopyState.LOADING)]
    assert next_actions({}, both, NOW) == [unload("a"), unload("a", 1)]


def files(
    model: str, wanted: Wanted, *, here: bool, used: bool = False, retry_at: float | None = None
) -> FilesFacts:
    return FilesFacts(model, wanted, here, used, retry_at)


def test_files_are_fetched_and_deleted_one_model_at_a_time() -> None:
    fetch, delete = files("a", Wanted.CACHED, here=False), files("b", Wanted.ABSENT, here=True)
    assert next_files([delete, fetch], busy=False, now=NOW) == fetch
    assert next_files([delete], busy=False, now=NOW) == delete
    assert next_files([delete, fetch], busy=True, now=NOW) is None


def test_files_that_are_as_asked_or_in_use_are_left_alone() -> None:
    done = [files("a", Wanted.CACHED, here=True), files("b", Wanted.ABSENT, here=False)]
    used = [files("c", Wanted.ABSENT, here=True, used=True)]
    later = [files("d", Wanted.CACHED, here=False, retry_at=NOW + 1)]
    assert next_files([*done, *used, *later], busy=False, now=NOW) is None


names = st.sampled_from("abc")
changes = st.sampled_from(list(Change))
wishes = st.dictionaries(names, st.builds(WantedCopy, st.sampled_from("fg"), st.none(), changes))
copies = st.lists(
    st.builds(
        CopyFacts, names, st.sampled_from("fg"), st.none(), st.sampled_from(list(CopyState)),
        st.sampled_from([NOW - 1, NOW + 1]),
    ).map(lambda copy: replace(copy, serves=copy.state == CopyState.READY)),
    unique_by=lambda each: each.model,
)  # fmt: skip


@given(wishes, copies)
def test_obeying_again_and_again_ends_with_exactly_what_is_wanted(
    wanted: dict[str, WantedCopy], there: list[CopyFacts]
) -> None:
    held = {
        copy.model: copy.fingerprint
        for copy in there
        if copy.serves and copy.model in wanted and wanted[copy.model].change == Change.HOLD
    }
    serving = {
        copy.model
        for copy in there
        if copy.serves and copy.model in wanted and wanted[copy.model].change != Change.REPLACE
    }
    now = NOW
    for _ in range(30):
        actions = next_actions(wanted, there, now)
        assert len(set(actions)) == len(actions)
        there = _finish(_carry_out(there, actions, wanted))
        assert serving <= {copy.model for copy in there if copy.serves}, "a gap"
        assert all(sum(c.model == name for c in there) <= 2 for name in "abc")
        now += 1
    assert {copy.model: copy.fingerprint for copy in there} == {
        model: each.fingerprint for model, each in wanted.items()
    } | held
    assert all(copy.state == CopyState.READY for copy in there)


def _carry_out(
    there: list[CopyFacts], actions: list[Action], wanted: dict[str, WantedCopy]
) -> list[CopyFacts]:
    copies = {copy.number: copy for copy in _numbered(there)}
    numbers = {(copy.model, copy.fingerprint): number for number, copy in copies.items()}
    asked = {(copy.model, copy.number): key for key, copy in zip(copies, there, strict=True)}
    for action in actions:
        if action.verb == Verb.LOAD:
            fingerprint = wanted[action.model].fingerprint
            again = numbers.get((action.model, fingerprint))
            assert again is None or copies[again].state == CopyState.FAILED
            number = len(copies) if again is None else again
            copies[number] = CopyFacts(
                action.model, fingerprint, None, CopyState.LOADING, number=number
            )
        else:
            key = asked[action.model, action.number]
            copies[key] = replace(copies[key], state=CopyState.UNLOADING, serves=False)
    return list(copies.values())


def _numbered(there: list[CopyFacts]) -> list[CopyFacts]:
    return [replace(copy, number=number) for number, copy in enumerate(there)]


def _finish(there: list[CopyFacts]) -> list[CopyFacts]:
    """What loads becomes ready, what unloads is gone."""
    return [
        replace(copy, state=CopyState.READY, serves=True) if copy.state in BUSY else copy
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
