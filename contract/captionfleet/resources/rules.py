"""Enforces the CEL rules that stand beside the types, as a Kubernetes API server would.

The rules are read from the same JSON schema that crds/*.yaml are made of: one truth.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import cel
from pydantic import BaseModel

VALIDATIONS = "x-kubernetes-validations"


def broken_rules(manifest: BaseModel, before: BaseModel | None = None) -> list[str]:
    """Sentences of the rules that this (well-typed, defaulted) object breaks, with their field.

    `before`: what it replaces; rules about changes (`oldSelf`) are judged only with it.
    """
    value = manifest.model_dump(mode="json", exclude_none=True)
    old = before.model_dump(mode="json", exclude_none=True) if before else None
    schema = _schema(type(manifest))
    return [
        f"{path or 'manifest'}: {message}"
        for path, message in _broken(schema, schema, value, old, "")
    ]


@cache
def _schema(type_: type[BaseModel]) -> dict[str, Any]:
    return type_.model_json_schema(by_alias=True)


@cache
def _program(expression: str) -> cel.Program:
    return cel.compile(expression)


def _broken(
    root: dict[str, Any], schema: dict[str, Any], value: Any, old: Any, path: str
) -> Iterator[tuple[str, str]]:
    """`old`: the value at this place before the change; None if there was none."""
    schema = resolve(root, schema)
    for each in schema.get(VALIDATIONS, ()):
        if "oldSelf" in each["rule"] and old is None:
            continue
        if not _program(each["rule"]).execute({"self": value, "oldSelf": old}):
            yield path, each["message"]
    if isinstance(value, dict):
        for name, part in schema.get("properties", {}).items():
            if name in value:
                before = old.get(name) if isinstance(old, dict) else None
                yield from _broken(root, part, value[name], before, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list) and "items" in schema:
        # As on an API server, a change of a list's item has no old value: items have no identity.
        for index, item in enumerate(value):
            yield from _broken(root, schema["items"], item, None, f"{path}[{index}]")


def resolve(root: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow pydantic's `$ref`, and `anyOf [X, null]` of optional fields, to the type meant."""
    if "anyOf" in schema:
        meant = [option for option in schema["anyOf"] if option.get("type") != "null"]
        if len(meant) == 1:
            schema = {**meant[0], **{k: v for k, v in schema.items() if k != "anyOf"}}
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        schema = {**resolve(root, target), **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema
