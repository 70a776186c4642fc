"""A job's prompts as each of its models is asked them: a text for all, or a name that stands for
each model's own preset. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from captionfleet.resources import ModelSpec
from captionfleet_api.jobs.refusals import Refusal
from captionfleet_api.jobs.requests import PromptAsked


@dataclass(frozen=True)
class Prompt:
    """What one model is asked, and what stands in the head of that column."""

    name: str
    text: str


def prompts_of(
    specs: Mapping[str, ModelSpec], asked: Sequence[PromptAsked]
) -> dict[str, list[Prompt]]:
    """By model. Raises Refusal for a name alone that is none of a model's presets."""
    return {
        model: [_prompt(model, spec, place, each) for place, each in enumerate(asked)]
        for model, spec in specs.items()
    }


def _prompt(model: str, spec: ModelSpec, place: int, asked: PromptAsked) -> Prompt:
    if asked.text is not None:
        return Prompt(asked.name, asked.text)
    presets = {preset.name: preset.text for preset in spec.prompts}
    if asked.name not in presets:
        known = f"has {', '.join(presets)}" if presets else "has none"
        raise Refusal(
            422,
            f"model {model!r} has no preset {asked.name!r} (its spec.prompts {known}): correct the "
            "name, or send a text as the prompt",
            field=f"prompts.{place}.name",
        )
    return Prompt(asked.name, presets[asked.name])
