"""What can go wrong between us and a Kubernetes API server, in the server's own words."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

UNREACHABLE = 0
ALREADY_THERE = 409
GONE = 410


@dataclass(frozen=True)
class Cause:
    """One field the server objects to, and why."""

    field: str
    message: str


class KubernetesError(Exception):
    """The API server refused, or (status 0) did not answer."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        causes: Sequence[Cause] = (),
        retry_after: float | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        """One word, for example NotFound or Conflict."""
        self.causes = tuple(causes)
        self.retry_after = retry_after
        self.sent = sent
        """False if the server surely did nothing, because the request never reached it."""


def error_of(
    status: int, body: bytes | Mapping[str, Any], retry_after: str | None = None
) -> KubernetesError:
    """The error that a `Status` document tells; whatever else came instead is told by its code."""
    told = _status_document(body)
    details = told.get("details") or {}
    causes = [
        Cause(str(each.get("field") or ""), str(each.get("message") or ""))
        for each in details.get("causes") or ()
    ]
    wait = str(retry_after or details.get("retryAfterSeconds"))
    return KubernetesError(
        int(told.get("code") or status),
        str(told.get("reason") or _phrase(status)),
        str(told.get("message") or f"the Kubernetes API answered {status} {_phrase(status)}"),
        causes=causes,
        retry_after=float(wait) if wait.isdigit() else None,
    )


def _status_document(body: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        told = json.loads(body) if isinstance(body, bytes) else body
    except ValueError:
        return {}  # a proxy's page, for example
    return told if isinstance(told, Mapping) and told.get("kind") == "Status" else {}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
