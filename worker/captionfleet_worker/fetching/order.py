"""What an agent asks of its fetcher, and what the fetcher says, as lines of JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captionfleet.messages import Download
from captionfleet.resources.model import HuggingFaceSource, ModelSpec
from captionfleet_worker.engine.protocol import LoadFailed


@dataclass(frozen=True)
class CacheRules:
    """Where downloads go, and how much of that place they may take."""

    folder: Path | None = None
    """None: the person's own cache, which HF_HOME names."""
    owned: bool = False
    """The folder is the workers' own: what nobody uses may be removed from it."""
    watermark_percent: int = 90
    """Of the disk, or of `limit_bytes`, that may be taken. Of an owned folder alone."""
    limit_bytes: int = 0
    """Most that the folder may take; 0: as much as the disk has."""


@dataclass(frozen=True)
class FetchOrder:
    """Which files to bring. What is there already is not fetched again."""

    source: HuggingFaceSource
    cache: CacheRules
    allow_pickle: bool = False
    """Weights may be pickles."""
    everything: bool = False
    """All files, for code that reads what it likes; else what transformers reads."""
    code: bool = False
    """The repository's Python files too."""
    offline: bool = False
    """Ask nobody: say whether all is there."""
    stall_seconds: float = 60
    """A connection that brings nothing for so long is cut, and the download resumed."""
    worker: str = "worker"
    keep: tuple[str, ...] = ()
    """Repositories that this worker uses: never removed."""
    spare: tuple[str, ...] = ()
    """Repositories whose models are still in the catalog: removed after those of none."""

    @classmethod
    def of(cls, spec: ModelSpec, cache: CacheRules) -> "FetchOrder":
        """What loading this model reads. It has a source on a hub."""
        assert spec.source and spec.source.hugging_face
        return cls(
            source=spec.source.hugging_face, cache=cache, allow_pickle=spec.loader.allow_pickle,
            everything=spec.custom is not None, code=spec.loader.trust_remote_code,
        )  # fmt: skip

    def to_line(self) -> str:
        made = {
            "source": self.source.as_manifest(), "folder": str(self.cache.folder or ""),
            "owned": self.cache.owned, "watermark_percent": self.cache.watermark_percent,
            "limit_bytes": self.cache.limit_bytes, "allow_pickle": self.allow_pickle,
            "everything": self.everything, "code": self.code, "offline": self.offline,
            "stall_seconds": self.stall_seconds, "worker": self.worker,
            "keep": self.keep, "spare": self.spare,
        }  # fmt: skip
        return json.dumps(made) + "\n"

    @classmethod
    def from_line(cls, line: str) -> "FetchOrder":
        made = json.loads(line)
        folder = made.pop("folder")
        rules = CacheRules(
            Path(folder) if folder else None, made.pop("owned"), made.pop("watermark_percent"),
            made.pop("limit_bytes"),
        )  # fmt: skip
        source = HuggingFaceSource.model_validate(made.pop("source"))
        made |= {"keep": tuple(made["keep"]), "spare": tuple(made["spare"])}
        return cls(source=source, cache=rules, **made)


@dataclass(frozen=True)
class Fetched:
    folder: Path
    """The repository at `commit`, as far as it was asked for."""
    commit: str


@dataclass(frozen=True)
class Progress:
    """How far it is: a sentence, a number of bytes, or both."""

    sentence: str
    download: Download | None = None


Said = Progress | Fetched | LoadFailed


def say(what: Said) -> str:
    """One line. The other side reads it with `hear`."""
    said: dict[str, Any]
    if isinstance(what, Progress):
        numbers = what.download.model_dump() if what.download else None
        said = {"sentence": what.sentence, "download": numbers}
    elif isinstance(what, Fetched):
        said = {"folder": str(what.folder), "commit": what.commit}
    else:
        said = {"reason": what.reason, "message": what.message, "retriable": what.retriable}
    return json.dumps(said) + "\n"


def hear(line: bytes | str) -> Said:
    said = json.loads(line)
    if "sentence" in said:
        numbers = said["download"]
        return Progress(said["sentence"], Download.model_validate(numbers) if numbers else None)
    if "commit" in said:
        return Fetched(Path(said["folder"]), said["commit"])
    return LoadFailed(said["reason"], said["message"], said["retriable"])
