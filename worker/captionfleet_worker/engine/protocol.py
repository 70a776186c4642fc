"""What an agent and its engine say to each other: orders, answers, and the frames they travel in.

A frame is two lengths, a JSON header, and raw bytes (the pictures of a batch).
"""

import asyncio
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from captionfleet.resources.model import ModelSpec

CANCELLED = "cancelled"
"""How an answer ends that nobody waits for."""
_LENGTHS = struct.Struct("!IQ")

Header = dict[str, Any]


@dataclass(frozen=True)
class EngineOrder:
    """Which model to load, how, and where. `device` is "cpu" or "cuda:0"."""

    model: str
    spec: ModelSpec
    device: str
    threads: int
    custom_infer: Path
    cache: Path | None
    """Hugging Face cache folder for hub files. None: the person's own (HF_HOME)."""
    rooms: Path
    """Folder in which each launch gets a fresh one of its own."""
    log_file: Path
    offline: bool = False
    """Never ask a hub."""
    files: Path | None = None
    """Folder with what was fetched from spec.source.huggingFace; None until it was."""
    commit: str | None = None
    """The commit that `files` holds."""

    def to_header(self) -> Header:
        return {
            "model": self.model, "spec": self.spec.as_manifest(), "device": self.device,
            "threads": self.threads, "custom_infer": str(self.custom_infer),
            "cache": str(self.cache) if self.cache else None, "rooms": str(self.rooms),
            "log_file": str(self.log_file), "offline": self.offline,
            "files": str(self.files) if self.files else None, "commit": self.commit,
        }  # fmt: skip

    @classmethod
    def from_header(cls, header: Header) -> "EngineOrder":
        return cls(
            model=header["model"], spec=ModelSpec.model_validate(header["spec"]),
            device=header["device"], threads=header["threads"],
            custom_infer=Path(header["custom_infer"]),
            cache=Path(header["cache"]) if header["cache"] else None,
            rooms=Path(header["rooms"]), log_file=Path(header["log_file"]),
            offline=header["offline"],
            files=Path(header["files"]) if header["files"] else None, commit=header["commit"],
        )  # fmt: skip


@dataclass(frozen=True)
class Shot:
    """One picture to caption: the bytes of a normalized JPEG or PNG, and what to ask."""

    picture: bytes
    prompt: str
    token: str = ""
    """By which it can be cancelled."""


@dataclass(frozen=True)
class Answer:
    """The caption of one shot, or why there is none."""

    text: str | None
    finish: str | None
    """stop, length when cut at the token limit, or cancelled, of which no text is told; None if
    the runtime does not tell."""
    tokens: int | None
    error_code: str | None
    error_message: str | None
    seconds: float | None = field(default=None, compare=False)
    """Its share of the time that its batch took, by the engine's own clock."""

    @classmethod
    def failed(cls, code: str, message: str) -> "Answer":
        return cls(None, None, None, code, message)

    def to_header(self) -> Header:
        return asdict(self)


class LoadFailed(Exception):
    """The model cannot be used. `reason` is one word; `retriable`: it may work without a person."""

    def __init__(self, reason: str, message: str, retriable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retriable = retriable


def framed(header: Mapping[str, Any], pictures: Sequence[bytes] = ()) -> list[bytes]:
    """In parts, to be written one after the other: pictures are not copied for it."""
    text = json.dumps(header).encode()
    return [_LENGTHS.pack(len(text), sum(map(len, pictures))) + text, *pictures]


async def read_frame(stream: asyncio.StreamReader) -> tuple[Header, bytes]:
    """The next frame. Raises asyncio.IncompleteReadError when the other side is gone."""
    text, body = _LENGTHS.unpack(await stream.readexactly(_LENGTHS.size))
    return json.loads(await stream.readexactly(text)), await stream.readexactly(body)


def receive_frame(stream: BinaryIO) -> tuple[Header, bytes]:
    """The next frame, blocking. Raises EOFError when the other side is gone."""
    text, body = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    return json.loads(_exactly(stream, text)), _exactly(stream, body)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError("the agent closed the connection")
    return data


def cut(body: bytes, sizes: list[int]) -> list[bytes]:
    """Cut the body of a frame into the pictures it carries."""
    pictures, start = [], 0
    for size in sizes:
        pictures.append(body[start : start + size])
        start += size
    return pictures
