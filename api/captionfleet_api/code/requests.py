"""What a person sends to upload code, to change its arguments, to go back: types and limits."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from captionfleet.resources.model import CustomFile, Source
from captionfleet_api.jobs.requests import Asked, without_nul

_Name = Annotated[str, StringConstraints(min_length=1, max_length=253), AfterValidator(without_nul)]
_Text = Annotated[str, StringConstraints(max_length=253), AfterValidator(without_nul)]
Kwargs = Annotated[dict[_Name, _Text], Field(max_length=32)]


class CodeAsked(Asked):
    name: Annotated[str, StringConstraints(max_length=63), AfterValidator(without_nul)] = ""
    """Name of the model. Default: the name of the file."""
    files: list[CustomFile]
    """Python files, [{path, content}]."""
    entrypoint: _Text = ""
    """module:Class. Default: the one class that can be it."""
    kwargs: Kwargs | None = None
    """Arguments for the class, as text. Default: those of the version before."""
    source: Source | None = None
    """Weights, as spec.source of a manifest. Default: what the model has."""


class KwargsAsked(Asked):
    kwargs: Kwargs
    """All of them: what is not named is removed."""


class RollbackAsked(Asked):
    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """Number of the version whose code and arguments shall run again."""
