"""The count of writes at which a test may have a process die."""

import signal
import subprocess
import sys

import pytest

WRITER = """
from captionfleet.faults import count_write
for write in (1, 2, 3):
    count_write("before")
    print(f"sent {write}", flush=True)
    count_write("after")
    print(f"answered {write}", flush=True)
"""


def writer(at: str) -> tuple[int, str]:
    """Exit status, and the last thing that three writes in a row came to say."""
    done = subprocess.run(
        [sys.executable, "-c", WRITER], env={"CAPTIONFLEET_FAULT_AT_WRITE": at},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("at", "last"), [("2", "answered 1"), ("2+", "sent 2"), ("3", "answered 2")]
)
def test_the_process_dies_at_the_write_that_was_named(at: str, last: str) -> None:
    assert writer(at) == (-signal.SIGKILL, last)


@pytest.mark.parametrize("at", ["", "4", "4+"])
def test_it_lives_when_no_write_is_named_or_fewer_are_made(at: str) -> None:
    assert writer(at) == (0, "answered 3")
