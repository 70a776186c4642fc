"""OpenAPI of doors that take JSON or a form, which the framework cannot read off a signature."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

_FIELDS: dict[str, dict[str, Any]] = {
    "files": {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "description": "Pictures, or files of Python code.",
    },
    "file": {"type": "string", "format": "binary", "description": "A picture."},
    "models": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Names of models; repeated or comma-separated.",
    },
    "prompt": {
        "type": "array",
        "items": {"type": "string"},
        "description": "What the models are asked; repeated for several columns.",
    },
    "preset": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Name of a preset that each of the models has; repeated likewise.",
    },
    "options": {"type": "string", "examples": ['{"max_new_tokens": 40}'], "description": "JSON."},
    "name": {"type": "string"},
    "priority": {"type": "string", "enum": ["interactive", "batch"]},
    "entrypoint": {"type": "string", "examples": ["my_model:MyModel"]},
    "kwargs": {"type": "string", "examples": ['{"style": "terse"}'], "description": "JSON."},
    "source": {"type": "string", "description": "spec.source of a manifest, as JSON."},
}


def body_of(model: type[BaseModel], form_fields: Sequence[str]) -> dict[str, Any]:
    """For `openapi_extra`: the model as JSON, or a form with these fields."""
    schema = model.model_json_schema()
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _inlined(schema, schema.pop("$defs", {}))},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {name: _FIELDS[name] for name in form_fields},
                    }
                },
            },
        }
    }


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema with its `$ref`s replaced by what they mean; ours are never recursive."""
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    return {name: _inlined(each, definitions) for name, each in schema.items()}
