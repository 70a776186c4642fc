"""How many pictures make a batch: learned by trying, since more is not always faster. Pure.

A CPU is often best at 4, a GPU at whatever its memory takes. Sizes are tried upward, 1, 2, 4 and
so on, until two in a row are no gain; the smallest of the fastest is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

_ENOUGH = 2
"""Batches after which a size counts as measured."""
_GAIN = 1.03
"""Times as fast that a larger batch must be, to be worth its latency."""
_LEAD = 1.1
"""Times as fast that another size must be to replace the one in use: rates swing."""
_NO_GAINS = 2
"""Sizes in a row without a gain that end the search."""
_SMOOTHING = 0.3


@dataclass(frozen=True)
class Known:
    """What is known of one model on one machine."""

    rates: Mapping[int, float] = field(default_factory=dict)
    """Pictures per second of full batches, one after the other, by size."""
    batches: Mapping[int, int] = field(default_factory=dict)
    """How many of each size were measured."""
    chosen: int | None = None
    """The size in use, once the search has ended."""
    safe: int | None = None
    """Most pictures that memory allows, once a batch did not fit."""


def noted(known: Known, most: int, size: int, rate: float) -> Known:
    """After a full batch of `size` that ran right behind another, at `rate` pictures/s."""
    before, count = known.rates.get(size, 0.0), known.batches.get(size, 0)
    # The first batches of a size are slower than those to come: of these the best counts.
    now = max(before, rate) if count < _ENOUGH else before + _SMOOTHING * (rate - before)
    grown = replace(
        known, rates={**known.rates, size: now}, batches={**known.batches, size: count + 1}
    )
    return replace(grown, chosen=_chosen(grown, most))


def shortened(known: Known, most: int, safe: int) -> Known:
    """After memory was found to allow `safe` pictures at a time."""
    shorter = replace(known, safe=min(safe, known.safe or safe))
    return replace(shorter, chosen=_chosen(shorter, most))


def next_size(known: Known, most: int) -> int:
    """Most pictures of the next batch."""
    untried = _untried(known, most)
    # What was chosen once may be more than the manifest allows today.
    return untried if untried is not None else _settled(known, most)


def prefetch(known: Known, most: int) -> int:
    """Tasks to hold: a batch that runs, and one to prepare meanwhile, of the largest size that may
    still be tried."""
    if _untried(known, most) is not None:
        return 2 * allowed(known, most)
    return 2 * next_size(known, most)


def allowed(known: Known, most: int) -> int:
    """Most pictures of any batch: what the manifest says, or memory."""
    return min(most, known.safe or most)


def ladder(most: int) -> list[int]:
    """The sizes that are tried: 1, 2, 4 and so on, and the largest."""
    powers = [1 << step for step in range(most.bit_length())]
    return powers if powers[-1] == most else [*powers, most]


def _untried(known: Known, most: int) -> int | None:
    """The size to try next; None when the search has ended."""
    best, no_gains = 0.0, 0
    for size in ladder(allowed(known, most)):
        if known.batches.get(size, 0) < _ENOUGH:
            return size
        rate = known.rates[size]
        no_gains = 0 if rate > best * _GAIN else no_gains + 1
        best = max(best, rate)
        if no_gains == _NO_GAINS:
            return None
    return None


def _best(known: Known, most: int) -> int:
    """The smallest of the fastest."""
    measured = [size for size in ladder(allowed(known, most)) if size in known.rates]
    fastest = max(known.rates[size] for size in measured)
    return next(size for size in measured if known.rates[size] * _GAIN >= fastest)


def _chosen(known: Known, most: int) -> int | None:
    return None if _untried(known, most) is not None else _settled(known, most)


def _settled(known: Known, most: int) -> int:
    """Once the search has ended."""
    best, now = _best(known, most), known.chosen
    if now in ladder(allowed(known, most)) and known.rates[best] < _LEAD * known.rates[now]:
        return now
    return best
