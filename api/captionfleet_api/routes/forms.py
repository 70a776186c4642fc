"""What comes with a request's body: forms with files, JSON with a limit."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from captionfleet_api.routes.problems import Problem

_LARGEST_JSON = 64_000_000
_MOST_FILES = 5_000
_MOST_FIELDS = 1_000


def is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("multipart/form-data")


def declared_length(request: Request) -> int:
    """What Content-Length says; 0 without."""
    text = request.headers.get("content-length", "0")
    return int(text) if text.isdecimal() else 0


@asynccontextmanager
async def form_of(request: Request, known: Sequence[str]) -> AsyncIterator[FormData]:
    """The form, with only known fields. Files lie on disk once they are larger than 1 MB."""
    async with request.form(max_files=_MOST_FILES, max_fields=_MOST_FIELDS) as form:
        for name in form:
            if name not in known:
                raise Problem(
                    422, f"unknown field {name!r}; known are {', '.join(known)}", field=name
                )
        yield form


def files_in(form: FormData, *names: str) -> list[UploadFile]:
    parts = [part for name in names for part in form.getlist(name)]
    files = [part for part in parts if isinstance(part, UploadFile)]
    if len(files) < len(parts):
        raise Problem(422, f"{names[0]} is text; send it as a file with a name", field=names[0])
    return files


def texts_in(form: FormData, name: str) -> list[str]:
    parts = form.getlist(name)
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < len(parts):
        raise Problem(422, f"{name} is a file; send it as plain text", field=name)
    return texts


def text_in(form: FormData, name: str) -> str | None:
    texts = texts_in(form, name)
    return texts[-1] if texts else None


def columns_in(form: FormData) -> dict[str, Any]:
    """models (repeated or comma-separated), prompt and preset (repeated), options (JSON)."""
    models = [m.strip() for text in texts_in(form, "models") for m in text.split(",")]
    named = [{"name": name} for name in texts_in(form, "preset") if name.strip()]
    return {
        "models": [model for model in models if model],
        "prompts": [*texts_in(form, "prompt"), *named],
        "options": _options(text_in(form, "options") or "{}"),
    }


def _options(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict):
        raise Problem(422, 'options is JSON, such as {"max_new_tokens": 40}', field="options")
    return options


async def json_body(request: Request) -> bytes:
    """The whole body of at most 64 MB."""
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > _LARGEST_JSON:
            raise Problem(
                413, f"a JSON body has at most {_LARGEST_JSON // 1_000_000} MB: send less"
            )
        pieces.append(piece)
    return b"".join(pieces)
