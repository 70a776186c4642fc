"""What an API server's refusals mean to whoever asked the catalog, in words. Pure."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from captionfleet.catalog.kubernetes_errors import Cause, KubernetesError
from captionfleet.catalog.protocol import CatalogError, Conflict, NotFound, Refused, Unavailable
from captionfleet.resources import InvalidManifest

# What the server puts before the sentence of a rule: the value as it prints it.
_VALUE = re.compile(r'^Invalid value: (?:"(?:[^"\\]|\\.)*"|[^\s:]+): ')


@contextmanager
def in_words(kind: str, name: str) -> Iterator[None]:
    """Turns the server's errors into the catalog's."""
    try:
        yield
    except KubernetesError as error:
        raise refusal(f"{kind} {name}", error) from error


def refusal(what: str, error: KubernetesError) -> CatalogError | InvalidManifest:
    match error.status:
        case 400 | 422:
            return InvalidManifest([_sentence(c) for c in error.causes] or [str(error)])
        case 404:
            return NotFound(f"{what} cannot be kept: {error}")
        case 409:
            return Conflict(f"{what} was not changed: {error}")
        case 401 | 403:
            return Refused(f"{what} was not changed: {error}")
        case _:
            return Unavailable(f"{what} cannot be changed now: {error}: try again")


def trouble_sentence(plural: str, error: KubernetesError) -> str:
    """Why the catalog may be out of date."""
    if error.status == 404:
        return (
            f"the Kubernetes API knows no {plural}: install the chart captionfleet-crds, and check "
            "that the namespace exists"
        )
    return f"{plural} may be out of date: {error}"


def _sentence(cause: Cause) -> str:
    message = _VALUE.sub("", cause.message)
    message = message[:1].lower() + message[1:]
    return f"{cause.field}: {message}" if cause.field else message
