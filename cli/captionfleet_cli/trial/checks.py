"""What a trial finds out: one check per promise of a CustomModel, judged from what was seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from captionfleet_cli.text import pictures

_WORTH_TELLING = 100 * 10**6
"""Bytes that stay after unload() and that nobody needs to hear of below this."""


class Result(StrEnum):
    OK = "ok"
    NOTE = "note"
    """It works, and a person should know this."""
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    name: str
    result: Result
    told: str
    remedy: str = ""


@dataclass(frozen=True)
class Said:
    """The answer to one picture: a caption, or why there is none."""

    picture: str
    text: str | None
    error: str = ""
    seconds: float = 0.0


def failed(name: str, told: str, remedy: str) -> Check:
    return Check(name, Result.FAILED, told, remedy)


def judge_single(alone: Sequence[Said]) -> Check:
    if wrong := [each for each in alone if each.text is None]:
        told = f"{len(wrong)} of {len(alone)} got no caption; {wrong[0].picture}: {wrong[0].error}"
        return failed("single", told, "correct the line that is named, and test again")
    return Check("single", Result.OK, pictures(len(alone)))


def judge_determinism(alone: Sequence[Said], again: Sequence[Said]) -> Check:
    if differing := [(a, b) for a, b in zip(alone, again, strict=True) if a.text != b.text]:
        one, other = differing[0]
        told = (
            f"{one.picture} was first {_short(one)}, then {_short(other)}: it samples, or keeps "
            "something from one picture to the next"
        )
        remedy = "if that is not meant: fix the seed, switch sampling off, keep no state in infer()"
        return Check("determinism", Result.NOTE, told, remedy)
    return Check("determinism", Result.OK, "the same captions twice")


def judge_batch(
    alone: Sequence[Said], together: Sequence[Said], split: str, repeatable: bool
) -> Check:
    """`together` are the same pictures, in one batch. `split`: why the batch as such failed."""
    size = len(together)
    if split:
        told = f"{split}; a worker asks for each picture alone then, which is slower"
        return failed("batch", told, "return one str per picture from infer_batch(), in order")
    if wrong := [each for each in together if each.text is None]:
        told = f"{len(wrong)} of {size} got no caption in a batch: {wrong[0].error}"
        return failed("batch", told, "return one str per picture from infer_batch(), in order")
    if not repeatable:
        told = f"{size} captions for {pictures(size)}; not compared, since they differ by chance"
        return Check("batch", Result.OK, told)
    if differing := [(a, b) for a, b in zip(alone, together, strict=True) if a.text != b.text]:
        one, other = differing[0]
        told = (
            f"{len(differing)} of {size} differ from the same picture alone; {one.picture}: "
            f"alone {_short(one)}, in the batch {_short(other)}"
        )
        remedy = (
            "keep the order of the pictures, pad with an attention mask, or set "
            "batching.maxBatchSize to 1"
        )
        return failed("batch", told, remedy)
    return Check("batch", Result.OK, f"{pictures(size)} in one go, each as when alone")


def judge_timing(alone: Sequence[Said], together: Sequence[Said]) -> Check:
    one, each = (median(said.seconds for said in part) for part in (alone, together))
    told = f"{one:.3f} s per picture alone, {each:.3f} s in a batch of {len(together)}"
    faster = one > 1.2 * each
    told += f": {one / each:.1f} times as fast" if faster else ": a batch saves no time"
    return Check("timing", Result.OK, told)


def judge_unload(loaded: int, left: int | None, problem: str | None) -> Check:
    """Bytes when loaded, and after unload(); None if it never came back, and `problem` is where
    it was then."""
    if left is None:
        told = "unload() ended the process, or took longer than a worker waits"
        told += f": it was in {problem}" if problem else ""
        return failed("unload", told, "let unload() drop references and return")
    if problem:
        return failed("unload", problem, "correct the line that is named; a worker goes on anyway")
    told = f"{megabytes(loaded)} when loaded, {megabytes(left)} after unload()"
    if left > loaded / 2 and left > _WORTH_TELLING:
        remedy = (
            "a worker ends the process, so nothing is lost; to give memory back earlier, drop "
            "references in unload(), for example self.model = None"
        )
        return Check("unload", Result.NOTE, told, remedy)
    return Check("unload", Result.OK, told)


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _short(said: Said) -> str:
    text = " ".join((said.text or said.error).split())
    return repr(text if len(text) <= 60 else text[:57] + "...")
