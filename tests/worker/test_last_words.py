"""What is read of a stack. Without processes."""

from pathlib import Path

from captionfleet_worker.engine.last_words import place_in

OURS = "/app/captionfleet_worker/engine/custom_code.py"


def stack(*frames: tuple[str, int, str], head: str = "Thread 0x1 (most recent call first):") -> str:
    lines = [f'  File "{file}", line {line} in {name}' for file, line, name in frames]
    return "\n".join([head, *lines]) + "\n"


def test_the_innermost_line_of_own_code_counts(tmp_path: Path) -> None:
    said = stack(
        ("/lib/time.py", 1, "sleep"),
        (f"{tmp_path}/tools/helper.py", 3, "wait"),
        (f"{tmp_path}/own.py", 6, "infer"),
        (OURS, 80, "generate"),
    )
    assert place_in(said, [tmp_path]) == "tools/helper.py, line 3, in wait"


def test_the_thread_that_was_called_comes_before_threads_of_the_code(tmp_path: Path) -> None:
    own, other = f"{tmp_path}/own.py", f"{tmp_path}/other.py"
    said = stack((other, 1, "watch")) + "\n" + stack((own, 6, "infer"), (OURS, 80, "generate"))
    assert place_in(said, [tmp_path]) == "own.py, line 6, in infer"
    assert place_in(stack((other, 1, "watch")), [tmp_path]) == "other.py, line 1, in watch"


def test_a_stack_without_own_code_names_no_place(tmp_path: Path) -> None:
    assert place_in(stack((OURS, 80, "generate")), [tmp_path]) is None
    assert place_in("", [tmp_path]) is None
