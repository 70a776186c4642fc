"""Errors as RFC 9457 problems: what happened, why, what to do; `field` and `code` for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from captionfleet.catalog import Conflict, NotFound, Refused, Unavailable
from captionfleet.resources import InvalidManifest
from captionfleet_api import metrics
from captionfleet_api.code.publishing import CodeRefused
from captionfleet_api.images.blobs import BlobMissing
from captionfleet_api.images.children import TooBusy
from captionfleet_api.images.normalize import BadPicture
from captionfleet_api.jobs.refusals import Refusal

MEDIA_TYPE = "application/problem+json"
_PICTURE_STATUS = {"too_large": 413, "unsupported_format": 415, "not_an_image": 415}


class Problem(Exception):
    """An answer that is an error. `more` are further members of the body."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers, more


def problem_response(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status,
            "detail": detail, **{k: v for k, v in more.items() if v is not None}}  # fmt: skip
    return JSONResponse(body, status, dict(headers or {}), media_type=MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Answer every error the doors may raise. Unforeseen ones are the edge's."""
    app.exception_handler(Problem)(_problem)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(RequestValidationError)(_invalid_request)
    app.exception_handler(ValidationError)(_invalid_body)
    app.exception_handler(Refusal)(_refusal)
    app.exception_handler(BadPicture)(_bad_picture)
    app.exception_handler(BlobMissing)(_blob_missing)
    app.exception_handler(TooBusy)(_too_busy)
    app.exception_handler(CodeRefused)(_code_refused)
    app.exception_handler(InvalidManifest)(_invalid_manifest)
    app.exception_handler(NotFound)(_not_found)
    app.exception_handler(Conflict)(_conflict)
    app.exception_handler(Refused)(_refused)
    app.exception_handler(Unavailable)(_unavailable)


def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error.status, error.detail, headers=error.headers, **error.more)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:
        detail = _in_words(error.status_code, request)
    return problem_response(error.status_code, detail, headers=error.headers)


def _in_words(status: int, request: Request) -> str:
    if status == HTTPStatus.NOT_FOUND:
        return f"there is nothing at {request.url.path}: the doors are listed at /api/v1/docs"
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.url.path} takes no {request.method}: the doors are listed at /api/v1/docs"
    return HTTPStatus(status).description or HTTPStatus(status).phrase


def _invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _invalid(error.errors(), skip=1)


def _invalid_body(_: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)
    return _invalid(error.errors(include_url=False), skip=0)


def _invalid(errors: Sequence[Any], skip: int) -> Response:
    """`skip`: how many leading parts of a location name the place (query, path), not the field."""
    sentences = [_sentence(each, skip) for each in errors[:10]]
    return problem_response(
        422, "; ".join(sentences), field=_field(errors[0], skip) or None, problems=sentences
    )


def _field(error: ErrorDetails, skip: int) -> str:
    return ".".join(str(part) for part in error["loc"][skip:])


def _sentence(error: ErrorDetails, skip: int) -> str:
    field = _field(error, skip) or "body"
    if error["type"] == "extra_forbidden":
        return f"{field}: unknown field; remove it or correct its name"
    if error["type"] == "missing":
        return f"{field}: required, but missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"{field}: {message[:1].lower()}{message[1:]}"


def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
    return problem_response(error.status, str(error), headers=headers, field=error.field)


def _bad_picture(_: Request, error: Exception) -> Response:
    assert isinstance(error, BadPicture)
    metrics.rejected.labels(error.code).inc()
    return problem_response(_PICTURE_STATUS.get(error.code, 422), error.message, code=error.code)


def _blob_missing(_: Request, error: Exception) -> Response:
    return problem_response(410, f"{error}: upload the picture again")


def _too_busy(_: Request, error: Exception) -> Response:
    return problem_response(
        503, f"{error}: send this one again in 2 s", headers={"Retry-After": "2"}
    )


def _code_refused(_: Request, error: Exception) -> Response:
    """`code_problems` tells the same by file and line, for whoever shows them beside the code."""
    assert isinstance(error, CodeRefused)
    return problem_response(
        422,
        str(error),
        field=error.problems[0].field,
        problems=[str(each) for each in error.problems],
        code_problems=[asdict(each) for each in error.problems],
    )


def _invalid_manifest(_: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidManifest)
    return problem_response(
        422, str(error), problems=error.problems, field=error.problems[0].partition(":")[0]
    )


def _not_found(_: Request, error: Exception) -> Response:
    return problem_response(404, str(error))


def _conflict(_: Request, error: Exception) -> Response:
    return problem_response(409, str(error))


def _refused(_: Request, error: Exception) -> Response:
    return problem_response(403, str(error))


def _unavailable(_: Request, error: Exception) -> Response:
    return problem_response(503, str(error), headers={"Retry-After": "5"})
