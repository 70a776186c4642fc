"""Options of text generation: a job's over the model's, and those over its family's, checked."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from textwrap import shorten
from typing import Annotated, Any

from pydantic import Field, ValidationError

from captionfleet.resources.model import Generation
from captionfleet_worker.engine.arguments import check_known, meant
from captionfleet_worker.engine.protocol import LoadFailed

_NOT_OPTIONS = {"prompt", "system_prompt", "extra"}
OPTION_NAMES = frozenset(Generation.model_fields) - _NOT_OPTIONS
_LONGEST_TOLD = 100
_FOR_SAMPLING = ("temperature", "top_p", "top_k")
_OURS = OPTION_NAMES | {
    "max_length", "min_length", "max_time", "stop_strings", "num_return_sequences",
    "return_dict_in_generate",
    "output_scores", "output_logits", "output_attentions", "output_hidden_states",
    "pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id",
}  # fmt: skip
"""Arguments of generate() by which rows are counted, cut and told apart: never a person's."""


@dataclass(frozen=True)
class Habits:
    """What a kind of model does where its manifest says nothing."""

    max_new_tokens: int = 64
    num_beams: int = 1
    prompt: str = ""


class Settled(Generation):
    """Settings of generation with nothing left open."""

    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = Habits.max_new_tokens
    num_beams: Annotated[int, Field(ge=1, le=16)] = Habits.num_beams


class BadOption(ValueError):
    """An option that is unknown, of the wrong type, out of range, or without effect."""


def settled(stated: Generation, habits: Habits) -> Settled:
    """What the manifest states, over the habits of its family. Raises LoadFailed."""
    said = stated.model_dump(by_alias=False, exclude_none=True)
    prompt = stated.prompt.strip() or habits.prompt
    found = Settled(**{**asdict(habits), **said, "prompt": prompt})
    if (found.min_new_tokens or 0) > found.max_new_tokens:
        raise LoadFailed(
            "InvalidSpec",
            f"spec.generation.minNewTokens ({found.min_new_tokens}) is above maxNewTokens "
            f"({found.max_new_tokens}): lower it, or raise maxNewTokens",
        )
    return found


def told(settled: Settled) -> str:
    """How a model is asked where a job says nothing, for people."""
    prompt = shorten(settled.prompt, _LONGEST_TOLD, placeholder=" ...")
    asked = f'asked "{prompt}"' if prompt else "asked nothing"
    beams = f", {settled.num_beams} beams" if settled.num_beams > 1 else ""
    return f"{asked}, writes up to {settled.max_new_tokens} tokens{beams}"


def effective_generation(defaults: Settled, options: Mapping[str, Any]) -> Settled:
    """The model's defaults with a job's options over them. Raises BadOption naming the option."""
    if unknown := sorted(set(options) - OPTION_NAMES):
        raise BadOption(
            f"unknown option {unknown[0]!r}: there are {', '.join(sorted(OPTION_NAMES))}"
        )
    try:
        chosen = Settled.model_validate(
            {**defaults.model_dump(by_alias=False), **options}, strict=True
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise BadOption(
            f"option {first['loc'][0]!r}: {first['msg']}, but it is {first['input']!r}"
        ) from None
    _check_effect(defaults, options, chosen)
    return chosen


def _check_effect(defaults: Settled, options: Mapping[str, Any], chosen: Settled) -> None:
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


def check_extra(extra: Mapping[str, str], known: frozenset[str]) -> None:
    """Raises LoadFailed for a further argument that generate() lacks, or that is not a person's.

    `known` are the settings that this transformers has.
    """
    if ours := sorted(set(extra) & _OURS):
        raise LoadFailed(
            "InvalidSpec",
            f"spec.generation.extra.{ours[0]}: the worker sets {ours[0]!r} itself: remove it, and "
            "use the fields of spec.generation",
        )
    check_known("spec.generation.extra", extra, known - _OURS, "generate()")


def as_options(generation: Generation) -> dict[str, Any]:
    """The set options under Hugging Face's names, as a CustomModel receives them."""
    stated = generation.model_dump(by_alias=False, exclude=_NOT_OPTIONS, exclude_none=True)
    return {**meant(generation.extra), **stated}


def generate_arguments(generation: Generation) -> dict[str, Any]:
    """Arguments for generate(): only those with an effect, as it warns about the others."""
    without = {"seed"}
    if not generation.do_sample:
        without |= set(_FOR_SAMPLING)
    if generation.num_beams == 1:
        without.add("length_penalty")
    return {name: v for name, v in as_options(generation).items() if name not in without}
