"""What is read of a stack, and how much memory an engine may take. Without processes."""

from pathlib import Path

import pytest

from captionfleet.resources.model import Requirements
from captionfleet_worker.engine.last_words import place_in
from captionfleet_worker.engine.memory_limit import memory_limit

OURS = "/app/captionfleet_worker/engine/custom_code.py"
GB = 10**9


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


@pytest.mark.parametrize(
    ("stated", "total", "size", "why"),
    [
        (None, 10 * GB, 9 * GB, "90 % of the worker's 10.0 GB"),
        ("1G", 10 * GB, GB + 2**31, "spec.requirements.memory"),
        ("8G", 10 * GB, 9 * GB, "90 %"),
    ],
)
def test_memory_is_limited_by_what_is_stated_and_by_the_worker(
    stated: str | None, total: int, size: int, why: str
) -> None:
    limit = memory_limit(Requirements(memory=stated), total)
    assert limit.size == size and why in str(limit)
