"""Prompts by name: the presets of models, looked up before anything is sent."""

from collections.abc import Mapping, Sequence
from typing import Any

from captionfleet_cli.submit.missing import Column
from captionfleet_cli.trouble import Exit, Trouble


def preset_columns(specs: Mapping[str, Any], names: Sequence[str]) -> dict[Column, str]:
    """The names by the columns they stand for. `specs` are those of the models, as in manifests."""
    return {
        (model, _text(model, spec, name)): name for name in names for model, spec in specs.items()
    }


def _text(model: str, spec: Mapping[str, Any], name: str) -> str:
    presets = {each["name"]: str(each["text"]) for each in spec.get("prompts", ())}
    if name not in presets:
        known = ", ".join(presets) or "none (spec.prompts of its manifest)"
        raise Trouble(f"model {model} has no preset {name!r}. Presets: {known}.", Exit.USAGE)
    return presets[name]
