"""Maps of text in a manifest (loader.processor, generation.extra ...) as the arguments they mean.

A manifest's maps hold text alone, so that an API server can check them.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from captionfleet_worker.engine.protocol import LoadFailed

_MOST_NAMED = 40


def meant(arguments: Mapping[str, str]) -> dict[str, Any]:
    """What reads as JSON (`12`, `true`, `{"height": 384}`) as that, the rest as text."""
    return {name: _value(text) for name, text in arguments.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity are no JSON


def check_known(field: str, arguments: Iterable[str], known: Iterable[str], whose: str) -> None:
    """Raises LoadFailed for an argument that would be ignored, naming those there are."""
    there = sorted(known)
    if unknown := sorted(set(arguments) - set(there)):
        named = ", ".join(there[:_MOST_NAMED]) or "none"
        more = f" and {len(there) - _MOST_NAMED} more" if len(there) > _MOST_NAMED else ""
        raise LoadFailed(
            "InvalidSpec",
            f"{field}.{unknown[0]}: {whose} knows no {unknown[0]!r}; it knows {named}{more}: "
            "correct the name, or remove it",
        )
