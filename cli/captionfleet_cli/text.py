"""Plain text for terminals and pipes. Pure."""

import unicodedata
from collections.abc import Sequence


def aligned(table: Sequence[Sequence[str]], indent: int = 0) -> str:
    """Lines whose columns stand below each other, three spaces apart."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        " " * indent
        + "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def one_line(text: str) -> str:
    """Text from models or files, safe to print: no line breaks, no terminal control codes."""
    spaced = " ".join(text.split())
    return "".join(c for c in spaced if unicodedata.category(c) != "Cc")
