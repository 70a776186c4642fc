"""What a result is worth, given what the database knows of its token. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from captionfleet.messages import Outcome, ResultMessage
from captionfleet_api.store.tables import OPEN_STATES, TaskState

_LONGEST_TEXT = 100_000
_LARGEST_NUMBER = 2**31 - 1
_MOST_SECONDS = 1e6


class Verdict(StrEnum):
    ACCEPT = "accept"
    """The first terminal answer: it is the task's from now on."""
    PUT_BACK = "put_back"
    """Unanswered: the task is released again."""
    DUPLICATE = "duplicate"
    """The task is terminal already."""
    OUTDATED = "outdated"
    """Handed back, but the task has gone on without that attempt."""
    REFUSE = "refuse"
    """Not the answer to anything we asked."""


@dataclass(frozen=True)
class Asked:
    """What was asked under a token, and how it stands now."""

    task: str
    model: str
    picture_sha256: str
    state: str
    attempt_ended: bool


def judge(result: ResultMessage, asked: Asked | None) -> Verdict:
    """Every token stays valid until its task is terminal; the revision is never matched."""
    if asked is None or (result.task, result.model, result.sha256) != (
        asked.task,
        asked.model,
        asked.picture_sha256,
    ):
        return Verdict.REFUSE
    if asked.state not in OPEN_STATES:
        return Verdict.DUPLICATE
    if result.outcome in (Outcome.CAPTIONED, Outcome.FAILED):
        return Verdict.ACCEPT
    if asked.attempt_ended or asked.state != TaskState.QUEUED:
        return Verdict.OUTDATED
    return Verdict.PUT_BACK


def storable(result: ResultMessage) -> ResultMessage:
    """The result as any database can keep it: no NUL, no endless text, only finite numbers.

    A caption without any text becomes the failure `empty_caption`.
    """
    clean: dict[str, object] = {
        name: value.replace("\x00", "")[:_LONGEST_TEXT]
        for name, value in result
        if isinstance(value, str) and name != "outcome"
    }
    if result.outcome is Outcome.CAPTIONED and not str(clean.get("text", "")).strip():
        clean["outcome"] = Outcome.FAILED
        clean["error_code"] = "empty_caption"
        clean["error_message"] = f"{result.model} answered without any text"
    clean["seconds"] = _seconds(result.seconds)
    clean["tokens"] = _count(result.tokens)
    return result.model_copy(update=clean)


def _seconds(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 <= seconds <= _MOST_SECONDS else None


def _count(tokens: int | None) -> int | None:
    return tokens if tokens is not None and 0 <= tokens <= _LARGEST_NUMBER else None
