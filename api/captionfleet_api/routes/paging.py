"""Pages: `limit` and an opaque, URL-safe `cursor`."""

from base64 import b64decode, urlsafe_b64encode
from typing import Annotated

from fastapi import Query

from captionfleet_api.routes.problems import Problem

Limit = Annotated[int, Query(ge=1, le=500, description="Most items of one page.")]
Cursor = Annotated[str | None, Query(description="`next` of the page before.", max_length=500)]


def cursor_of(place: str) -> str:
    return urlsafe_b64encode(place.encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> str | None:
    """What cursor_of() was given. Raises Problem if nobody gave it."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return b64decode(padded, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise _not_ours() from None


def number_of(cursor: str | None) -> int:
    """The same for places that are numbers; 0 without a cursor."""
    if cursor is None:
        return 0
    place = place_of(cursor) or ""
    if not (place.isascii() and place.isdecimal() and len(place) < 16):
        raise _not_ours()
    return int(place)


def _not_ours() -> Problem:
    return Problem(
        422, "cursor is none of this list: take `next` of the page before", field="cursor"
    )
