"""From the tokens a model wrote to the words people read. Plain lists in, strings out."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

THOUGHTS_OPEN = ("<think>", "<|channel>")
THOUGHTS_CLOSE = ("</think>", "<channel|>")


@dataclass(frozen=True)
class Thoughts:
    """Token ids of the marks around what a model thinks before it answers."""

    opens: frozenset[int] = frozenset()
    closes: frozenset[int] = frozenset()

    def open_after(self, asked: Iterable[int]) -> bool:
        """Whether what comes next is still a thought."""
        thinking = False
        for token in asked:
            thinking = token in self.opens or (thinking and token not in self.closes)
        return thinking

    def spoken(self, written: Sequence[int], thinking: bool = False) -> list[int] | None:
        """The tokens outside of thoughts; None if the model was cut off before it spoke."""
        said: list[int] = []
        for token in written:
            if token in self.closes:  # some models open their thoughts unmarked
                thinking, said = False, []
            elif token in self.opens:
                thinking = True
            elif not thinking:
                said.append(token)
        return None if thinking and not said else said


def without_thoughts(text: str) -> str:
    """The text without thoughts whose marks are plain text to the tokenizer."""
    return text.rpartition("</think>")[2].partition("<think>")[0]


def tidy(text: str) -> str:
    """One line without doubled spaces, and without the comma some checkpoints begin with."""
    return " ".join(text.split()).lstrip(",. ")


def ending(written: Sequence[int], ends: Collection[int], limit: int) -> tuple[str, int]:
    """(finish, tokens) of one row of new tokens: "stop" if the model ended it, else "length"."""
    for count, token in enumerate(written):
        if token in ends:
            return "stop", count
    return ("length" if len(written) >= limit else "stop"), len(written)


def echo_length(
    rows: Sequence[Sequence[int]], asked: Sequence[Sequence[int]] | None, starts: Collection[int]
) -> int:
    """How many leading tokens of every row are not the model's own.

    Decoder-only models repeat what they were asked, `asked`; so does BLIP, but it replaces the
    first token and drops the last. Encoder-decoder models begin with a start token.
    """
    if not rows:
        return 0
    if asked and asked[0]:
        length = len(asked[0])
        if all(list(row[:length]) == list(ids) for row, ids in zip(rows, asked, strict=False)):
            return length
        inner = [list(ids[1:-1]) for ids in asked]
        if length > 2 and all(
            list(row[1 : length - 1]) == ids for row, ids in zip(rows, inner, strict=False)
        ):
            return length - 1
    return 1 if all(row and row[0] in starts for row in rows) else 0


def with_prefix(prefix: str, decoded: str, decoded_prefix: str, decoded_rest: str) -> str:
    """The caption with the person's own prefix in place of the decoded one.

    Decoding loses words the vocabulary lacks and the case of letters; a rest that continues a
    word must not be torn from it, so it is cut from the whole where that works.
    """
    if decoded_prefix and decoded.startswith(decoded_prefix):
        return prefix + decoded[len(decoded_prefix) :]
    return f"{prefix} {decoded_rest}"
