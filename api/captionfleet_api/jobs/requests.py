"""What a person sends to make a job or to add columns to one: its types and limits, no deeds."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from captionfleet_api.jobs.refusals import Refusal


def without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the character NUL: remove it")
    return text


def _line(text: str) -> str:
    """On one line: control characters of a name are for display nothing but trouble."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return text.strip()


ModelName = Annotated[str, StringConstraints(min_length=1, max_length=63)]
PromptText = Annotated[str, StringConstraints(max_length=4096), AfterValidator(without_nul)]
Filename = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_line)]
JobName = Annotated[str, StringConstraints(max_length=200), AfterValidator(_line)]


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class PromptAsked(Asked):
    name: Annotated[str, StringConstraints(max_length=63), AfterValidator(_line)] = ""
    """Short name for the column's head. Empty: the text stands there."""
    text: PromptText | None = None
    """What the model is asked. Empty: its own way. Left out: what its preset of that name says."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.text is None and not self.name:
            raise ValueError("needs a text, or the name of one of the models' presets")
        return self


class ImageAsked(Asked):
    id: Annotated[str, StringConstraints(max_length=64), AfterValidator(without_nul)]
    """As POST /images answered."""
    filename: Filename = ""
    """Name to show; the same picture under two names makes two rows."""


PromptGiven = Annotated[
    PromptAsked,
    BeforeValidator(
        lambda given: {"text": given} if isinstance(given, str) else given,
        json_schema_input_type=str | PromptAsked,
    ),
]
ImageGiven = Annotated[
    ImageAsked,
    BeforeValidator(
        lambda given: {"id": given} if isinstance(given, str) else given,
        json_schema_input_type=str | ImageAsked,
    ),
]


class ColumnsAsked(Asked):
    """Columns: every model with every prompt."""

    models: Annotated[list[ModelName], Field(max_length=100)] = []
    """Names of models, see GET /models."""
    model: ModelName | None = None
    """Short for `models` with one name."""
    prompts: Annotated[list[PromptGiven], Field(max_length=32)] = []
    """Prompts, each a text, {name, text}, or {name} for the preset of that name that each model
    has. None: the models are asked in their own way."""
    prompt: PromptText | None = None
    """Short for `prompts` with one text."""
    options: dict[str, Any] = {}
    """Text generation settings that win over the model's, for example max_new_tokens."""

    def all_models(self) -> list[str]:
        """Each named once. Raises Refusal if there is none."""
        named = [*self.models, *([self.model] if self.model else [])]
        if not named:
            raise Refusal(422, "name at least one model, see GET /api/v1/models", field="models")
        return list(dict.fromkeys(named))

    def all_prompts(self) -> list[PromptAsked]:
        """At least one: the empty prompt asks a model in its own way."""
        short = [PromptAsked(text=self.prompt)] if self.prompt is not None else []
        return [*self.prompts, *short] or [PromptAsked(text="")]

    def columns_only(self) -> "ColumnsAsked":
        """Without what a subclass adds."""
        return ColumnsAsked(**{name: getattr(self, name) for name in ColumnsAsked.model_fields})


class JobAsked(ColumnsAsked):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "images": [{"id": "9f86d081884c7d65...", "filename": "cat.jpg"}],
                    "models": ["shapes-basic", "shapes-chat"],
                    "prompts": [{"name": "brief", "text": "Describe the image briefly."}],
                    "options": {"max_new_tokens": 40},
                }
            ]
        }
    )
    name: JobName = ""
    """Name of the job. Default: made of the file names."""
    priority: Literal["interactive", "batch"] | None = None
    """interactive goes first. Default: interactive for up to 20 pictures."""
    images: Annotated[list[ImageGiven], Field(min_length=1)]
    """Uploaded pictures, each an id or {id, filename}."""


class CaptionsAsked(ColumnsAsked):
    """One picture, all answers."""

    image: ImageGiven
    """An uploaded picture, an id or {id, filename}."""


class RetryAsked(Asked):
    column: str | None = None
    """Only the failed tasks of this column."""
