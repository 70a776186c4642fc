"""Pages: `limit` and an opaque, URL-safe `cursor`."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
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
        return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        raise Problem(
            422, "cursor is not one of ours: take `next` of the page before", field="cursor"
        ) from None


def number_of(cursor: str | None) -> int:
    """The same for places that are numbers; 0 without a cursor."""
    place = place_of(cursor) or "0"
    if not place.isdecimal():
        raise Problem(
            422, "cursor is not one of this list: take `next` of the page before", field="cursor"
        )
    return int(place)
