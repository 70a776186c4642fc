"""Drafts of jobs: no question is asked twice, the grid fills from the top, medians are right."""

import statistics
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from captionfleet_api.jobs.drafting import (
    StoredPicture,
    draft_columns,
    draft_name,
    draft_pictures,
    draft_tasks,
)
from captionfleet_api.jobs.presets import Prompt
from captionfleet_api.jobs.requests import ImageAsked
from captionfleet_api.jobs.summary import median
from captionfleet_api.store.tables import Priority

names = st.sampled_from(["alpha", "beta", "gamma"])
prompts = st.builds(Prompt, name=names, text=st.sampled_from(["", "brief", "long"]))
options = st.fixed_dictionaries({}, optional={"top_k": st.integers(0, 2), "seed": st.just(1)})


@given(st.lists(names, max_size=4), st.lists(prompts, max_size=4), options, options)
def test_no_question_is_asked_twice(
    models: list[str], asked: list[Prompt], first: dict[str, int], second: dict[str, int]
) -> None:
    columns = dict.fromkeys(models, asked)
    known = draft_columns(columns, first)
    more = draft_columns(columns, second, known)
    questions = [column.question for column in (*known, *more)]
    assert len(set(questions)) == len(questions)
    assert {(q[0], q[1]) for q in questions} == {(m, p.text) for m in models for p in asked}
    assert [column.position for column in (*known, *more)] == list(range(len(questions)))


@given(st.lists(st.builds(ImageAsked, id=names, filename=names)))
def test_a_picture_under_one_name_is_one_row(images: list[ImageAsked]) -> None:
    rows = draft_pictures(images)
    assert len(rows) == len({(row.id, row.filename) for row in images})
    assert rows == sorted(rows, key=images.index)


@given(st.integers(0, 6), st.integers(0, 4))
def test_tasks_come_picture_by_picture(pictures: int, columns: int) -> None:
    rows = [StoredPicture(f"row {i}", f"sha {i}", i) for i in range(pictures)]
    drafts = draft_columns({"m": [Prompt("", f"p{i}") for i in range(columns)]}, {})
    tasks = list(draft_tasks("job", Priority.BATCH, rows, drafts, change=7))
    assert [(t["job_image"], t["column"]) for t in tasks] == [
        (row.job_image, draft.id) for row in rows for draft in drafts
    ]
    assert [t["id"] for t in tasks] == sorted({t["id"] for t in tasks})


def test_a_job_is_named_after_its_files() -> None:
    assert draft_name("mine", ["a.png"]) == "mine"
    assert draft_name("", ["a.png"]) == "a.png"
    assert draft_name("", ["a.png", "b.png", "c.png"]) == "a.png and 2 more"
    assert draft_name("", [""]) == "1 picture"
    assert draft_name("", ["", ""]) == "2 pictures"


@given(st.lists(st.integers(0, 50)))
def test_the_median_of_a_histogram_is_the_median(values: list[int]) -> None:
    assert median(Counter(values)) == (statistics.median(values) if values else None)
