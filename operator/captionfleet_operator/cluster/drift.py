"""Whether an object on the API server still is what we applied. Foreign fields do not matter."""

import re
from collections.abc import Mapping
from typing import Any

from captionfleet_operator.cluster.naming import APPLIED

_QUANTITY = re.compile(r"^(\d+(?:\.\d+)?)(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")
_UNITS = {"m": 1e-3, None: 1, "k": 1e3, "Ki": 2**10, "M": 1e6, "Mi": 2**20,
          "G": 1e9, "Gi": 2**30, "T": 1e12, "Ti": 2**40}  # fmt: skip
_NOTHING: tuple[Any, ...] = (None, "", {}, [])


def drifted(wanted: Mapping[str, Any], live: Mapping[str, Any] | None) -> bool:
    """True if applying `wanted` would change something, as far as can be told from outside."""
    if live is None or _applied(live) != _applied(wanted):
        return True
    return not _holds(wanted, live)


def _applied(manifest: Mapping[str, Any]) -> str | None:
    annotations: Mapping[str, str] = manifest["metadata"].get("annotations") or {}
    return annotations.get(APPLIED)


def _holds(wanted: Any, live: Any) -> bool:
    """Everything wanted is there; what the server or others added may be there too."""
    if isinstance(wanted, Mapping):
        there = live if isinstance(live, Mapping) else {}
        return all(_holds(value, there.get(field)) for field, value in wanted.items())
    if isinstance(wanted, list):
        return _holds_items(wanted, live if isinstance(live, list) else [])
    if wanted == live or (wanted in _NOTHING and live in _NOTHING):
        return True
    return _amount(wanted) is not None and _amount(wanted) == _amount(live)


def _holds_items(wanted: list[Any], live: list[Any]) -> bool:
    """Items with a name are found by it; a list of others must be the same, item by item."""
    named = {item["name"]: item for item in live if isinstance(item, Mapping) and "name" in item}
    if wanted and all(isinstance(item, Mapping) and "name" in item for item in wanted):
        return all(_holds(item, named.get(item["name"])) for item in wanted)
    return len(wanted) == len(live) and all(map(_holds, wanted, live))


def _amount(value: Any) -> float | None:
    """A quantity as a number: the server writes 1000m as 1."""
    found = _QUANTITY.match(str(value)) if isinstance(value, str | int | float) else None
    return round(float(found[1]) * _UNITS[found[2]], 6) if found else None
