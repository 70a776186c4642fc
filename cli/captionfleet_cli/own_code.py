"""A person's own code as the commands take it: files of text, and keyword arguments."""

from collections.abc import Sequence
from pathlib import Path

from captionfleet_cli.trouble import Exit, Trouble


def text_of(file: Path) -> str:
    """Raises Trouble if it cannot be read as text."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Trouble(f"{file} is not UTF-8 text: save it as UTF-8.", Exit.USAGE) from None
    except OSError as error:
        raise Trouble(f"{file}: {error.strerror}.", Exit.USAGE) from None


def kwargs_of(given: Sequence[str]) -> dict[str, str]:
    """Of NAME=VALUE, the pairs. Raises Trouble for what is none."""
    pairs = [each.partition("=") for each in given]
    if wrong := [name for name, equals, _ in pairs if not (name and equals)]:
        raise Trouble(f"--kwarg {wrong[0]!r} has no value: write it as NAME=VALUE.", Exit.USAGE)
    return {name: value for name, _, value in pairs}
