"""REST shapes of uploaded code and its versions. Times are RFC 3339 in UTC."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict

from captionfleet.catalog.code import sha256_of
from captionfleet_api.code.publishing import Judged
from captionfleet_api.jobs.shapes import Shape, rfc3339
from captionfleet_api.store.tables import CodeVersion


class _CodeShape(Shape):
    """Forbids other members, or a field `kwargs` would clash with them for the type checker."""

    model_config = ConfigDict(extra="forbid")


class ArgumentShape(Shape):
    """A keyword argument of the class, as far as it can be read."""

    name: str
    default: str | None
    """null if it has none, and must be given."""


class CheckShape(_CodeShape):
    """Code that would be taken."""

    name: str
    entrypoint: str
    kwargs: dict[str, str]
    arguments: list[ArgumentShape]


class CodeFileShape(Shape):
    path: str
    size: int
    """Bytes."""
    sha256: str


class VersionShape(_CodeShape):
    model: str
    number: int
    sha256: str
    """Over names and contents of all files: what `sha256sum *.py | sha256sum` tells."""
    author: str
    """admin, who has the token; or local, where there is none. There are no users yet."""
    note: str
    """What made it, in words."""
    created_at: str
    applied_at: str | None
    """When it took effect; null if that is not known."""
    current: bool
    """It is what the model stands for now."""
    entrypoint: str
    kwargs: dict[str, str]
    source: dict[str, Any] | None
    files: list[CodeFileShape]


class VersionDetailShape(VersionShape):
    code: dict[str, str]
    """File -> its text."""
    diff: str
    """Unified diff from version `diff_from`; empty if nothing differs."""
    diff_from: int | None
    """null for the first."""


def check_shape(judged: Judged) -> CheckShape:
    arguments = judged.checked.arguments
    return CheckShape(
        name=judged.name,
        entrypoint=judged.code.entrypoint,
        kwargs=judged.code.kwargs,
        arguments=[ArgumentShape(name=each.name, default=each.default) for each in arguments],
    )


def version_shape(version: CodeVersion, current: int | None) -> VersionShape:
    return VersionShape(**_members(version, current))


def detail_shape(
    version: CodeVersion, current: int | None, diff: str, diff_from: int | None
) -> VersionDetailShape:
    code = {each["path"]: each["content"] for each in version.files}
    return VersionDetailShape(
        **_members(version, current), code=code, diff=diff, diff_from=diff_from
    )


def _members(version: CodeVersion, current: int | None) -> Mapping[str, Any]:
    return {
        "model": version.model,
        "number": version.number,
        "sha256": version.sha256,
        "author": version.author,
        "note": version.note,
        "created_at": rfc3339(version.created_at),
        "applied_at": rfc3339(version.applied_at),
        "current": version.number == current,
        "entrypoint": version.entrypoint,
        "kwargs": version.kwargs,
        "source": version.source,
        "files": [_file(each["path"], each["content"]) for each in version.files],
    }


def _file(path: str, content: str) -> CodeFileShape:
    return CodeFileShape(path=path, size=len(content.encode()), sha256=sha256_of(content))
