"""A task on its way to a worker, and the result on its way back.

A task travels as the raw bytes of the normalized picture with everything else in headers;
a result is a small JSON body.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from captionfleet.messages.base import Message


class MalformedTask(ValueError):
    """A delivery that is no task of ours; it can only be refused."""


@dataclass(frozen=True)
class TaskMessage:
    """One task. `options` use Hugging Face's names (max_new_tokens) and win over the model's."""

    task: str
    token: str
    model: str
    sha256: str
    reply_to: str
    picture: bytes = field(repr=False)
    prompt: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    traceparent: str | None = None
    released_at: float | None = None
    """When it was given to the broker, in Unix seconds by the api's clock."""

    def headers(self) -> dict[str, str]:
        headers = {
            "task": self.task, "token": self.token, "model": self.model,
            "sha256": self.sha256, "prompt": self.prompt, "options": json.dumps(self.options),
        }  # fmt: skip
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        if self.released_at is not None:
            headers["released_at"] = f"{self.released_at:.3f}"
        return headers

    @classmethod
    def decode(cls, headers: dict[str, Any], reply_to: str | None, body: bytes) -> "TaskMessage":
        """Raises MalformedTask if a header is missing or no text."""
        try:
            released_at = headers.get("released_at")
            return cls(
                released_at=None if released_at is None else float(released_at),
                task=str(headers["task"]), token=str(headers["token"]),
                model=str(headers["model"]), sha256=str(headers["sha256"]),
                prompt=str(headers.get("prompt", "")),
                options=dict(json.loads(str(headers.get("options", "{}")))),
                traceparent=headers.get("traceparent"), reply_to=reply_to or "", picture=body,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedTask(f"not a task message: {error!r}") from None


class Outcome(StrEnum):
    CAPTIONED = "captioned"
    FAILED = "failed"
    RETURNED = "returned"
    """Handed back unstarted by a draining worker: release it again."""
    SUSPECT = "suspect"
    """Delivered before to a consumer that died: release it again, in the suspect lane."""


class ResultMessage(Message):
    """The answer to one attempt, published to the results exchange under the task's reply_to."""

    task: str
    token: str
    model: str
    sha256: str
    outcome: Outcome
    worker: str
    revision: str | None = None
    fingerprint: str | None = None
    text: str | None = None
    finish: str | None = None
    """stop, or length when the caption was cut at the token limit."""
    seconds: float | None = None
    """Seconds of engine time of this picture's batch, divided by its size."""
    tokens: int | None = None
    error_code: str | None = None
    error_message: str | None = None
