"""Enforces the CEL rules that stand beside the types, as a Kubernetes API server would.

The rules are read from the same JSON schema that crds/*.yaml are made of: one truth.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import cel
from pydantic import BaseModel

VALIDATIONS = "x-kubernetes-validations"


def broken_rules(manifest: BaseModel) -> list[str]:
    """Sentences of the rules that this (well-typed, defaulted) object breaks, with their field."""
    value = manifest.model_dump(mode="json", exclude_none=True)
    schema = _schema(type(manifest))
    return [
        f"{path or 'manifest'}: {message}" for path, message in _broken(schema, schema, value, "")
    ]


@cache
def _schema(type_: type[BaseModel]) -> dict[str, Any]:
    return type_.model_json_schema(by_alias=True)


@cache
def _program(expression: str) -> cel.Program:
    return cel.compile(expression)


def _broken(
    root: dict[str, Any], schema: dict[str, Any], value: Any, path: str
) -> Iterator[tuple[str, str]]:
    schema = resolve(root, schema)
    for each in schema.get(VALIDATIONS, ()):
        if not _program(each["rule"]).execute({"self": value}):
            yield path, each["message"]
    if isinstance(value, dict):
        for name, part in schema.get("properties", {}).items():
            if name in value:
                yield from _broken(root, part, value[name], f"{path}.{name}".lstrip("."))
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _broken(root, schema["items"], item, f"{path}[{index}]")


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
