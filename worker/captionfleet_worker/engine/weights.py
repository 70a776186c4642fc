"""Which files of a model's folder or repository are needed, and whether they are all there.

Works on names alone, so that a hub's listing is judged before anything is fetched.
"""

import hashlib
import json
import struct
from collections.abc import Collection, Iterable
from fnmatch import fnmatch
from pathlib import Path

from captionfleet_worker.engine.protocol import LoadFailed

SETTINGS = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
"""Configuration, tokenizer and processor files, at any depth (InstructBLIP has two tokenizers)."""
_SAFE = ("model*.safetensors",)
_PICKLED = ("pytorch_model*.bin",)


def weight_files(names: Collection[str], allow_pickle: bool, place: str) -> list[str]:
    """The names of the files that hold the weights: safetensors, else .bin where allowed.

    Raises LoadFailed: MissingWeights, or PickleRefused.
    """
    if safe := _matching(names, _SAFE):
        return safe
    pickled = _matching(names, _PICKLED)
    if pickled and not allow_pickle:
        raise LoadFailed(
            "PickleRefused",
            f"{place} has its weights only as {pickled[0]}, a pickle, which can run code while it "
            "is loaded: set spec.loader.allowPickle to true if you trust its authors",
        )
    if not pickled:
        raise LoadFailed(
            "MissingWeights",
            f"{place} has no model.safetensors: fetch the model's files anew, or point spec.source "
            "elsewhere",
        )
    return pickled


def check_complete(folder: Path, allow_pickle: bool) -> dict[str, object]:
    """The config of a model folder that has all its files. Raises LoadFailed."""
    if not folder.is_dir():
        raise LoadFailed(
            "SourceNotFound",
            f"there is no folder {folder}: correct spec.source.volume.path, or put the model there",
        )
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise LoadFailed(
            "MissingWeights", f"{folder} has no config.json: it is not the folder of a model"
        )
    try:
        config: dict[str, object] = json.loads(config_file.read_text())
    except ValueError as error:
        raise LoadFailed("MissingWeights", f"{config_file} is no valid JSON: {error}") from None
    names = [entry.name for entry in folder.iterdir()]
    for name in weight_files(names, allow_pickle, str(folder)):
        if name.endswith(".safetensors"):
            _check_whole(folder / name)
    for index in folder.glob("*.index.json"):
        shards = set(json.loads(index.read_text()).get("weight_map", {}).values())
        if _is_weights_index(index.name, allow_pickle) and (missing := shards - set(names)):
            raise LoadFailed(
                "MissingWeights",
                f"{folder} lacks {sorted(missing)[0]}, which {index.name} names: fetch it anew",
            )
    return config


def _check_whole(file: Path) -> None:
    """A safetensors file tells in its header how long it must be."""
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8).ljust(8, b"\0"))
        try:
            header = json.loads(stream.read(min(length, file.stat().st_size)))
            ends = [each["data_offsets"][1] for name, each in header.items() if name[0] != "_"]
            whole = file.stat().st_size == 8 + length + max(ends, default=0)
        except (ValueError, KeyError, TypeError, AttributeError):
            whole = False
    if not whole:
        raise LoadFailed(
            "MissingWeights", f"{file} is cut short or no safetensors file: fetch it anew"
        )


def _is_weights_index(name: str, allow_pickle: bool) -> bool:
    return name == "model.safetensors.index.json" or (allow_pickle and name.startswith("pytorch_"))


def folder_digest(folder: Path, allow_pickle: bool, everything: bool = False) -> str:
    """Digest of the names and contents of the files that loading reads (or of all files)."""
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    if not everything:
        settings = [n for n in names if any(fnmatch(n, p) for p in SETTINGS)]
        names = sorted({*settings, *weight_files(names, allow_pickle, str(folder))})
    digest = hashlib.sha256()
    for name in names:
        with (folder / name).open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


def _matching(names: Iterable[str], patterns: tuple[str, ...]) -> list[str]:
    return sorted(n for n in names if "/" not in n and any(fnmatch(n, p) for p in patterns))
