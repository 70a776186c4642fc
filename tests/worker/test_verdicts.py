"""What a task is answered."""

from hashlib import sha256

import pytest

from captionfleet.messages import Outcome, TaskMessage
from captionfleet_worker.engine_process import Answer
from captionfleet_worker.verdicts import (
    CRASHES,
    SUSPECT,
    Lane,
    Origin,
    Verdict,
    as_result,
    on_answer,
    on_arrival,
    timed_out,
)

TASK = TaskMessage(
    task="t", token="k", model="m", sha256=sha256(b"picture").hexdigest(), reply_to="r",
    picture=b"picture",
)  # fmt: skip


@pytest.mark.parametrize(
    ("lane", "count", "verdict"),
    [
        (Lane.MODEL, 0, None),
        (Lane.MODEL, 1, SUSPECT),
        (Lane.MODEL, 5, SUSPECT),
        (Lane.SUSPECT, 0, None),
        (Lane.SUSPECT, 1, None),
        (Lane.SUSPECT, 2, CRASHES),
        (Lane.SUSPECT, 3, CRASHES),
    ],
)
def test_deliveries_count_crashes(lane: Lane, count: int, verdict: Verdict | None) -> None:
    assert on_arrival(lane, count, TASK) == verdict


def test_other_bytes_than_named_are_refused() -> None:
    swapped = TaskMessage(
        task="t", token="k", model="m", sha256=TASK.sha256, reply_to="r", picture=b"another"
    )
    verdict = on_arrival(Lane.MODEL, 0, swapped)
    assert verdict
    assert verdict.error_code == "bad_picture"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(None, None, None, "out_of_memory", "too large"), "out_of_memory"),
        (Answer(None, None, None, None, None), "bad_result"),
        (Answer(" \n", "stop", 1, None, None), "empty_caption"),
        (Answer("a cat", "stop", 2, None, None), None),
    ],
)
def test_engine_answers_become_captions_or_named_failures(answer: Answer, code: str | None) -> None:
    verdict = on_answer(answer, 0.5)
    assert verdict.error_code == code
    assert (verdict.outcome == Outcome.CAPTIONED) == (code is None)
    assert (verdict.error_message is None) == (code is None)


def test_a_timeout_names_its_limit_and_its_setting() -> None:
    assert "120 s (spec.inference.timeoutSeconds)" in str(timed_out(120).error_message)


def test_a_result_carries_the_attempt_and_who_answered() -> None:
    verdict = Verdict(Outcome.CAPTIONED, text="a cat", finish="stop", seconds=0.5, tokens=2)
    result = as_result(TASK, verdict, Origin("w", "f", "r1"))
    assert (result.task, result.token, result.sha256) == ("t", "k", TASK.sha256)
    assert (result.worker, result.fingerprint, result.revision) == ("w", "f", "r1")
    assert (result.text, result.finish, result.seconds, result.tokens) == ("a cat", "stop", 0.5, 2)
