"""What a task is answered, and why. Pure: deliveries and engine answers in, results out."""

from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256

from captionfleet.broker.link import Delivery
from captionfleet.messages import Outcome, ResultMessage, TaskMessage
from captionfleet_worker.engine_process import Answer

# Once may be the death of a worker for any reason; a task that was there twice is the reason.
_SUSPECT_LANE_LIMIT = 2


class Lane(Enum):
    MODEL = "model"
    SUSPECT = "suspect"
    """For tasks whose consumer died: one at a time, and alone."""


@dataclass(frozen=True, eq=False)
class Held:
    """A task taken from the broker and not answered yet."""

    number: int
    """Place in the order of arrival."""
    task: TaskMessage
    delivery: Delivery = field(repr=False)
    alone: bool = False
    """It must run in a batch of its own."""


@dataclass(frozen=True)
class Verdict:
    """The answer to one task, before it is addressed. Fields as in ResultMessage."""

    outcome: Outcome
    text: str | None = None
    finish: str | None = None
    seconds: float | None = None
    tokens: int | None = None
    error_code: str | None = None
    error_message: str | None = None

    @property
    def final(self) -> bool:
        """It ends the task. Others ask for another attempt."""
        return self.outcome in (Outcome.CAPTIONED, Outcome.FAILED)


def failed(code: str, message: str) -> Verdict:
    return Verdict(Outcome.FAILED, error_code=code, error_message=message)


RETURNED = Verdict(Outcome.RETURNED)
SUSPECT = Verdict(Outcome.SUSPECT)


def crashed(how: str = "") -> Verdict:
    """`how`: the signal or exit code, and the place in a person's code, if that is known."""
    return failed(
        "crashes_the_model",
        "The model's process ended each time it was given this picture, the last time alone"
        + (f" ({how})" if how else "")
        + ". Other pictures are not affected; the model's log on the worker says how it ended.",
    )


CRASHES = crashed()


def timed_out(limit: float, place: str | None = None) -> Verdict:
    """`place`: where a person's code stood."""
    remedy = "lower max_new_tokens" if place is None else f"see {place}, where it was then"
    return failed(
        "timeout",
        f"The model did not answer within {limit:g} s (spec.inference.timeoutSeconds), not even "
        f"with this picture alone. Raise the limit, or {remedy}.",
    )


def on_arrival(lane: Lane, delivery_count: int, task: TaskMessage) -> Verdict | None:
    """What to answer without running it; None = run it.

    `delivery_count`: how often it was delivered before to a consumer that did not answer.
    """
    if lane == Lane.MODEL and delivery_count >= 1:
        return SUSPECT
    if lane == Lane.SUSPECT and delivery_count >= _SUSPECT_LANE_LIMIT:
        return CRASHES
    if sha256(task.picture).hexdigest() != task.sha256:
        return failed(
            "bad_picture",
            "The picture that arrived is not the one this task names (its sha256 differs), so it "
            "was not captioned. Retry the task.",
        )
    return None


def on_answer(answer: Answer, seconds: float) -> Verdict:
    """`seconds`: engine time of the picture's batch, divided by its size."""
    if answer.error_code:
        return failed(answer.error_code, answer.error_message or "The model gave no reason.")
    if answer.text is None:
        return failed("bad_result", "The model answered neither with a caption nor an error.")
    if not answer.text.strip():
        return failed("empty_caption", "The model answered with an empty caption.")
    return Verdict(
        Outcome.CAPTIONED,
        text=answer.text, finish=answer.finish, seconds=seconds, tokens=answer.tokens,
    )  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """Who answers: the worker, and what its copy is made of."""

    worker: str
    fingerprint: str
    revision: str | None


def as_result(task: TaskMessage, verdict: Verdict, origin: Origin) -> ResultMessage:
    return ResultMessage(
        task=task.task, token=task.token, model=task.model, sha256=task.sha256,
        outcome=verdict.outcome, worker=origin.worker, revision=origin.revision,
        fingerprint=origin.fingerprint, text=verdict.text, finish=verdict.finish,
        seconds=verdict.seconds, tokens=verdict.tokens,
        error_code=verdict.error_code, error_message=verdict.error_message,
    )  # fmt: skip
