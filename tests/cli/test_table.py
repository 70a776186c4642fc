"""The grid as text: heads that tell columns apart, cells for people, a bounded live board."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from captionfleet.client import Event, Job, Task
from captionfleet_cli.results.table import cell_text, grid_table, labels
from captionfleet_cli.submit.board import Board
from captionfleet_cli.text import aligned, one_line


def job(id_: str, *columns: tuple[str, str], **counts: int) -> Job:
    made = [
        {"id": f"{id_}-{number}", "model": model, "prompt": prompt}
        for number, (model, prompt) in enumerate(columns)
    ]
    return Job.model_validate(
        {"id": id_, "name": "", "state": "running", "columns": made, "counts": counts}
    )


def task(filename: str, column: str = "j-0", **fields: Any) -> Task:
    image = {"id": filename, "sha256": "", "width": 1, "height": 1, "filename": filename}
    shape = {"id": filename, "job": "j", "image": image, "column": column, "model": "m"}
    return Task.model_validate(shape | fields)


def test_a_column_is_headed_by_its_model() -> None:
    assert list(labels([job("j", ("blip", ""), ("chat", "what?"))]).values()) == ["blip", "chat"]


def test_prompts_tell_the_columns_of_one_model_apart() -> None:
    heads = labels([job("j", ("chat", ""), ("chat", "How many shapes are there in this?"))])
    assert list(heads.values()) == ["chat: its own prompt", "chat: How many shapes are the…"]


def test_jobs_that_ask_the_same_share_a_column() -> None:
    assert set(labels([job("j", ("blip", "")), job("k", ("blip", ""))]).values()) == {"blip"}


def test_cells_say_what_is_there_or_why_not() -> None:
    assert cell_text(task("a", state="captioned", caption={"text": "a cat"})).plain == "a cat"
    error = {"code": "timeout", "message": "took 120 s"}
    assert cell_text(task("a", state="failed", error=error)).plain == "failed: took 120 s"
    assert cell_text(task("a", state="pending", reason="loading on cpu-1")).plain == (
        "loading on cpu-1"
    )
    assert cell_text(None).plain == "-"


@given(st.text(max_size=200))
def test_no_text_of_a_model_can_command_the_terminal(text: str) -> None:
    shown = one_line(text)
    assert "\x1b" not in shown and "\n" not in shown and "\r" not in shown


def test_a_long_caption_wraps_and_is_not_cut() -> None:
    caption = "a small red circle above two large blue squares on a gray ground"
    cells = [cell_text(task("a", state="captioned", caption={"text": caption}))]
    console = Console(width=50)
    with console.capture() as capture:
        console.print(grid_table(["blip"], [("a.jpg", cells)]))
    shown = " ".join(capture.get().split())
    assert all(word in shown for word in caption.split())


def test_lines_stand_below_each_other() -> None:
    assert aligned([["NAME", "AGE"], ["blip-base", "3d"]]) == "NAME        AGE\nblip-base   3d"


def event(filename: str, **fields: Any) -> Event:
    return Event(id="1", kind="task", task=task(filename, **fields))


def test_the_board_fills_as_events_arrive() -> None:
    board = Board([job("j", ("blip", ""), ("git", ""))], capacity=10)
    board.take(event("a.jpg", state="captioned", caption={"text": "a cat"}))
    board.take(event("a.jpg", column="j-1", state="running"))
    [(filename, cells)] = board.rows()
    assert (filename, [cell.plain for cell in cells]) == ("a.jpg", ["a cat", "running"])


def test_the_board_keeps_no_more_rows_than_it_can_show() -> None:
    board = Board([job("j", ("blip", ""))], capacity=3)
    for number in range(100):
        board.take(event(f"{number}.jpg", state="running"))
    assert [filename for filename, _ in board.rows()] == ["97.jpg", "98.jpg", "99.jpg"]


def test_the_line_adds_up_all_jobs() -> None:
    board = Board([job("j", pending=5), job("k", pending=5)], capacity=3)
    done = job("j", captioned=3, failed=1, pending=1)
    board.take(Event(id="1", kind="job", job=done.model_copy(update={"eta_seconds": 12.4})))
    assert board.line() == "3 of 10 captioned, 1 failed, about 12 s left"


def test_the_line_says_why_pictures_wait_until_something_is_heard() -> None:
    board = Board([job("j", ("blip", ""), pending=5)], capacity=3)
    board.waiting = {"blip": "run `pip install\n transformers[audio]`\x1b"}
    assert board.line() == "0 of 5 captioned; blip waits: run `pip install transformers[audio]`"
    board.take(event("a.jpg", state="running"))
    assert board.line() == "0 of 5 captioned"
