"""What is asked for: exactly the cells that are missing, in as few jobs as possible."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captionfleet.client import Picture, Prompt, Uploaded
from captionfleet_cli.submit.missing import Batches, Coverage, Order, orders
from captionfleet_cli.submit.presets import preset_columns
from captionfleet_cli.trouble import Trouble

COLUMNS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["", "what?", "how many?"])), unique=True
)


@given(COLUMNS)
def test_orders_ask_for_every_missing_column_once(columns: list[tuple[str, str]]) -> None:
    asked = [
        (model, prompt.text)
        for order in orders(columns, {})
        for prompt in order.prompts
        for model in order.models
    ]
    assert sorted(asked) == sorted(columns)


def test_a_full_grid_is_one_order() -> None:
    grid = [(model, prompt) for model in "abc" for prompt in ("what?", "how many?")]
    assert len(orders(grid, {})) == 1


def test_a_preset_is_asked_for_by_its_name_though_each_model_has_its_own_text() -> None:
    specs = {
        "a": {"prompts": [{"name": "short", "text": "Be brief."}]},
        "b": {
            "prompts": [{"name": "short", "text": "In short:"}, {"name": "long", "text": "All."}]
        },
    }
    columns = preset_columns(specs, ["short"])
    assert columns == {("a", "Be brief."): "short", ("b", "In short:"): "short"}
    asked = [("a", "what?"), ("b", "what?"), *columns]
    assert orders(asked, columns) == [
        Order(("a", "b"), (Prompt(text="what?"), Prompt(name="short")))
    ]
    with pytest.raises(Trouble, match=r"model a has no preset 'long'\. Presets: short\."):
        preset_columns(specs, ["long"])


@given(COLUMNS, st.lists(st.integers(0, 11)))
def test_coverage_misses_what_was_not_added(
    wanted: list[tuple[str, str]], added: list[int]
) -> None:
    coverage = Coverage(wanted)
    there = [wanted[number % len(wanted)] for number in added] if wanted else []
    for column in there:
        coverage.add("image", "a.jpg", column)
    assert set(coverage.missing("image", "a.jpg")) == set(wanted) - set(there)
    assert set(coverage.missing("image", "b.jpg")) == set(wanted)


def test_columns_that_were_not_asked_for_cover_nothing() -> None:
    coverage = Coverage([("a", "")])
    coverage.add("image", "a.jpg", ("a", "what?"))
    assert coverage.missing("image", "a.jpg") == (("a", ""),)


@given(st.lists(st.sampled_from([(("a", ""),), (("b", ""),)]), max_size=30), st.integers(1, 5))
def test_batches_keep_every_picture_once_and_their_limit(
    needs: list[tuple[tuple[str, str], ...]], limit: int
) -> None:
    batches = Batches(limit)
    pictures = [
        Uploaded(Picture(Path(str(number)), str(number)), "id") for number in range(len(needs))
    ]
    full = [batches.add(picture, need) for picture, need in zip(pictures, needs, strict=True)]
    made = [*filter(None, full), *batches.rest()]
    assert all(0 < len(batch) <= limit for _, batch in made)
    sent = {(picture.picture.filename, need) for need, batch in made for picture in batch}
    assert sent == {(str(number), need) for number, need in enumerate(needs)}
    assert sum(len(batch) for _, batch in made) == len(needs)
