"""The options of a job: text generation settings that win over the model's, by their names in
Hugging Face's generate().
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from captionfleet_api.jobs.refusals import Refusal


class Options(BaseModel):
    """Ranges as in CaptionModel.spec.generation."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True,
        allow_inf_nan=False, json_schema_extra={"examples": [{"max_new_tokens": 40}]},
    )  # fmt: skip

    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Longest caption, in tokens."""
    min_new_tokens: Annotated[int, Field(ge=0, le=4096)] | None = None
    """Shortest caption, in tokens."""
    num_beams: Annotated[int, Field(ge=1, le=16)] | None = None
    """Beams of beam search; 1 is greedy."""
    do_sample: bool | None = None
    """Sample instead of taking the likeliest token."""
    temperature: Annotated[float, Field(gt=0, le=10)] | None = None
    """Randomness of sampling."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Sample among the likeliest tokens that add up to this probability."""
    top_k: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """Sample among this many likeliest tokens."""
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    """Above 1 discourages repeating tokens."""
    no_repeat_ngram_size: Annotated[int, Field(ge=0, le=100)] | None = None
    """Never repeat a run of this many tokens."""
    length_penalty: Annotated[float, Field(ge=-10, le=10)] | None = None
    """Beam search only: above 0 favors longer captions."""
    seed: Annotated[int, Field(ge=0, le=4_294_967_295)] | None = None
    """Seed of sampling."""


def canonical_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options checked, without unset ones, in one order: equal options are equal values.

    Raises Refusal, which names the option and, if it is unknown, the known ones.
    """
    try:
        return Options.model_validate(options).model_dump(exclude_none=True)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> Refusal:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "options"
    if first["type"] == "extra_forbidden":
        known = ", ".join(Options.model_fields)
        return Refusal(422, f"unknown option {name!r}; known are {known}", field=f"options.{name}")
    message = first["msg"].lower()
    return Refusal(
        422, f"option {name}: {message} (got {first['input']!r:.80})", field=f"options.{name}"
    )
