"""The child process that decodes pictures: `python -m captionfleet_api.images.child LIMITS`.

Reads files from stdin and writes answers to stdout until stdin ends. It holds no secrets, opens
nothing, and may be killed at any moment: that costs the picture in hand and nothing else.
"""

import json
import resource
import struct
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from captionfleet_api.images.normalize import BadPicture, Normalized, normalize

LENGTH = struct.Struct(">Q")
ANSWER = struct.Struct(">IQQ")
"""Bytes of the JSON head, of the picture and of the thumbnail that follow."""


@dataclass(frozen=True)
class Limits:
    side: int
    pixels: int
    memory_bytes: int
    cpu_seconds: int
    """For one picture. It ends a child in a loop whose parent is gone and cannot."""

    def as_argument(self) -> str:
        return json.dumps(asdict(self))


def main() -> None:
    limits = Limits(**json.loads(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    serve(sys.stdin.buffer, sys.stdout.buffer, limits)


def serve(source: BinaryIO, answers: BinaryIO, limits: Limits) -> None:
    def work(file: bytes) -> Normalized:
        return normalize(file, side=limits.side, pixels=limits.pixels)

    while head := source.read(LENGTH.size):
        (length,) = LENGTH.unpack(head)
        _limit_cpu(limits.cpu_seconds)
        answers.write(_answer(work, source.read(length)))
        answers.flush()


def _limit_cpu(seconds: int) -> None:
    """Let this process use so many more seconds of CPU before the kernel ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _answer(work: Callable[[bytes], Normalized], file: bytes) -> bytes:
    try:
        done = work(file)
    except BadPicture as error:
        return _packed({"code": error.code, "message": error.message})
    except MemoryError:
        return _packed({"code": "decode_failed", "message": "decoding takes too much memory"})
    head = {"media_type": done.media_type, "width": done.width, "height": done.height}
    return _packed(head, done.picture, done.thumbnail)


def _packed(head: dict[str, Any], picture: bytes = b"", thumbnail: bytes = b"") -> bytes:
    encoded = json.dumps(head).encode()
    return b"".join(
        (ANSWER.pack(len(encoded), len(picture), len(thumbnail)), encoded, picture, thumbnail)
    )


if __name__ == "__main__":
    main()
