"""The batcher's choice, by properties."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from captionfleet.messages import TaskMessage
from captionfleet_worker.batcher import next_batch


@dataclass(frozen=True)
class Item:
    number: int
    task: TaskMessage
    alone: bool


def item(number: int, prompt: str, options: dict[str, int], alone: bool) -> Item:
    task = TaskMessage(
        task=str(number), token=str(number), model="m", sha256="", reply_to="", picture=b"",
        prompt=prompt, options=options,
    )  # fmt: skip
    return Item(number, task, alone)


options = st.dictionaries(st.sampled_from(["num_beams", "top_k"]), st.integers(1, 2))
items = st.lists(
    st.tuples(st.integers(0, 99), st.sampled_from(["", "a"]), options, st.booleans()),
    unique_by=lambda each: each[0], max_size=12,
).map(lambda rows: [item(*row) for row in rows])  # fmt: skip


@given(items, st.integers(1, 5))
def test_whenever_something_waits_the_oldest_of_it_runs(waiting: list[Item], most: int) -> None:
    batch = next_batch(waiting, lambda _: most)
    assert bool(batch) == bool(waiting)
    if waiting:
        assert batch[0] is min(waiting, key=lambda each: each.number)


@given(items, st.integers(1, 5))
def test_a_batch_shares_prompt_and_options_and_keeps_its_size(
    waiting: list[Item], most: int
) -> None:
    batch = next_batch(waiting, lambda _: most)
    assert len(batch) <= most
    assert all(each.task.prompt == batch[0].task.prompt for each in batch)
    assert all(each.task.options == batch[0].task.options for each in batch)


@given(items, st.integers(1, 5))
def test_who_must_be_alone_is_alone(waiting: list[Item], most: int) -> None:
    batch = next_batch(waiting, lambda _: most)
    assert len(batch) == 1 or not any(each.alone for each in batch)


@given(items, st.integers(1, 5))
def test_nobody_is_left_behind_who_fits_and_is_older_than_one_that_runs(
    waiting: list[Item], most: int
) -> None:
    batch = next_batch(waiting, lambda _: most)
    left = [each for each in waiting if each not in batch]
    for each in left:
        fits = not batch[0].alone and not each.alone
        alike = (each.task.prompt, each.task.options) == (
            batch[0].task.prompt, batch[0].task.options,
        )  # fmt: skip
        assert not (fits and alike and each.number < batch[-1].number)


@given(items, st.integers(1, 5))
def test_everything_runs_in_the_end_and_once(waiting: list[Item], most: int) -> None:
    ran: list[int] = []
    while batch := next_batch(waiting, lambda _: most):
        ran += [each.number for each in batch]
        waiting = [each for each in waiting if each not in batch]
    assert waiting == []
    assert len(ran) == len(set(ran))


def test_options_in_another_order_are_the_same_options() -> None:
    one = item(1, "", {"num_beams": 1, "top_k": 2}, False)
    other = item(2, "", {"top_k": 2, "num_beams": 1}, False)
    assert next_batch([one, other], lambda _: 8) == [one, other]
