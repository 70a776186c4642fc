"""Options of text generation: a job's options over the model's defaults, checked, in one place."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from captionfleet.resources.model import Generation

_NOT_OPTIONS = {"prompt", "system_prompt"}
OPTION_NAMES = frozenset(Generation.model_fields) - _NOT_OPTIONS
_FOR_SAMPLING = ("temperature", "top_p", "top_k")


class BadOption(ValueError):
    """An option that is unknown, of the wrong type, out of range, or without effect."""


def effective_generation(defaults: Generation, options: Mapping[str, Any]) -> Generation:
    """The model's defaults with a job's options over them. Raises BadOption naming the option."""
    if unknown := sorted(set(options) - OPTION_NAMES):
        raise BadOption(
            f"unknown option {unknown[0]!r}: there are {', '.join(sorted(OPTION_NAMES))}"
        )
    try:
        chosen = Generation.model_validate(
            {**defaults.model_dump(by_alias=False), **options}, strict=True
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise BadOption(
            f"option {first['loc'][0]!r}: {first['msg']}, but it is {first['input']!r}"
        ) from None
    _check_effect(defaults, options, chosen)
    return chosen


def _check_effect(defaults: Generation, options: Mapping[str, Any], chosen: Generation) -> None:
    """An option that would be ignored is an error: it would make two equal columns look unlike."""
    if not chosen.do_sample:
        for name in _FOR_SAMPLING:
            if name in options and options[name] != getattr(defaults, name):
                raise BadOption(f"option {name!r} works with sampling only: add do_sample: true")
    if "length_penalty" in options and options["length_penalty"] and chosen.num_beams == 1:
        raise BadOption("option 'length_penalty' works with beams only: add num_beams: 2 or more")
    if (chosen.min_new_tokens or 0) > chosen.max_new_tokens:
        raise BadOption(
            f"option 'min_new_tokens' ({chosen.min_new_tokens}) is above max_new_tokens "
            f"({chosen.max_new_tokens})"
        )


def as_options(generation: Generation) -> dict[str, Any]:
    """The set options under Hugging Face's names, as a CustomModel receives them."""
    return generation.model_dump(by_alias=False, exclude=_NOT_OPTIONS, exclude_none=True)


def generate_arguments(generation: Generation) -> dict[str, Any]:
    """Arguments for generate(): only those with an effect, as it warns about the others."""
    without = {"seed"}
    if not generation.do_sample:
        without |= set(_FOR_SAMPLING)
    if generation.num_beams == 1:
        without.add("length_penalty")
    return {name: v for name, v in as_options(generation).items() if name not in without}
