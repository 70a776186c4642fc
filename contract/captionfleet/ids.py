"""Identifiers: uuid7, so that sorting by id is sorting by age."""

import secrets

from uuid_utils import uuid7


def new_id() -> str:
    return str(uuid7())


def new_nonce() -> str:
    """A short name for one life of a process or connection."""
    return secrets.token_hex(4)
