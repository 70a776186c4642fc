"""What changed between two versions, as a unified diff. Pure."""

from collections.abc import Iterator, Mapping
from difflib import unified_diff

from captionfleet_api.store.tables import CodeVersion


def diff(before: CodeVersion | None, after: CodeVersion) -> str:
    """File by file, then the arguments. Empty if nothing differs."""
    old, new = _parts(before) if before else {}, _parts(after)
    names = sorted(old.keys() | new.keys(), key=lambda name: (not name.endswith(".py"), name))
    number = before.number if before else 0
    lines = (
        line
        for name in names
        for line in _changed(name, old, new, f"version {number}", f"version {after.number}")
    )
    return "".join(lines)


def _parts(version: CodeVersion) -> dict[str, str]:
    """Name -> text. What is no file is written as one line each."""
    arguments = "".join(f"{name}: {value!r}\n" for name, value in sorted(version.kwargs.items()))
    parts = {each["path"]: each["content"] for each in version.files}
    return parts | {"entrypoint": f"{version.entrypoint}\n"} | (
        {"kwargs": arguments} if arguments else {}
    )  # fmt: skip


def _changed(
    name: str, old: Mapping[str, str], new: Mapping[str, str], before: str, after: str
) -> Iterator[str]:
    """One file's part of the diff; a file that is not on one side is /dev/null there."""
    lines = unified_diff(
        _lines(old.get(name, "")),
        _lines(new.get(name, "")),
        name if name in old else "/dev/null",
        name if name in new else "/dev/null",
        before,
        after,
    )
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(text: str) -> list[str]:
    """Ended by \\n alone: other characters that end a line somewhere stay inside of it."""
    *lines, rest = text.split("\n")
    return [f"{line}\n" for line in lines] + ([rest] if rest else [])
