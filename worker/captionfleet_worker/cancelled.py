"""Which tokens nobody waits for any more, as far as a worker, or one of its engines, was told."""

from collections.abc import Iterable

_MOST = 20_000
"""Enough for all that brokers may still deliver; older ones are captioned in vain, no more."""


class Cancelled:
    """A collection of tokens that forgets its oldest. What a person has ended may be with a
    worker, in a queue, or not yet published. One thread may add while others look."""

    def __init__(self) -> None:
        self._tokens: dict[str, None] = {}

    def add(self, tokens: Iterable[str]) -> None:
        self._tokens.update(dict.fromkeys(tokens))
        for oldest in list(self._tokens)[: max(0, len(self._tokens) - _MOST)]:
            del self._tokens[oldest]

    def __contains__(self, token: object) -> bool:
        return token in self._tokens
