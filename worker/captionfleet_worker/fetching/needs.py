"""Which files of a repository loading reads. Pure: judged on names alone, before anything comes."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch

from captionfleet_worker.engine.weights import SETTINGS, weight_files
from captionfleet_worker.fetching.order import FetchOrder


def needed(names: Sequence[str], order: FetchOrder) -> list[str]:
    """Of all files those that are needed. Raises LoadFailed if there are no weights among them.

    Patterns of the manifest win over what transformers reads.
    """
    source = order.source
    left = [name for name in names if not _matches(name, source.ignore_patterns)]
    if source.allow_patterns or order.everything:
        return [name for name in left if _matches(name, source.allow_patterns or ["*"])]
    weights = weight_files(left, order.allow_pickle, f"{source.repo} at {source.revision}")
    patterns = [*SETTINGS, *(["*.py"] if order.code else [])]
    return [name for name in left if name in weights or _matches(name, patterns)]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """A pattern that ends in / means all below that folder."""
    return any(fnmatch(name, p + "*" if p.endswith("/") else p) for p in patterns)
