"""Deletes a model's downloads from a cache that is the worker's own, unless something uses them."""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captionfleet.ids import new_nonce
from captionfleet_worker.engine_process import LoadFailed


async def delete_files(
    spec: Mapping[str, Any], cache: Path | None, others: Mapping[str, Mapping[str, Any]]
) -> None:
    """`spec` in manifest form; `others`: the specs of models that have a copy on this worker.

    Raises LoadFailed, in words for people, if the files are not ours to delete, or are in use.
    """
    repo = _repo(spec)
    if repo is None:
        place = (spec.get("source") or {}).get("volume", {}).get("path", "custom_infer")
        raise _refused(f"its files are a person's own, in {place}: only downloads are deleted")
    if cache is None:
        raise _refused(
            "its files lie in the Hugging Face cache of this machine, which other programs use "
            "too: give the pool a cache of its own by spec.cache, or delete them by hand"
        )
    if users := sorted(name for name, other in others.items() if _repo(other) == repo):
        raise _refused(f"{', '.join(users)} uses the same files on this worker: unload it first")
    try:
        await asyncio.to_thread(_delete, cache / f"models--{repo.replace('/', '--')}")
    except OSError as error:
        raise LoadFailed("DiskError", f"its files could not be deleted: {error}", True) from None


def _repo(spec: Mapping[str, Any]) -> str | None:
    repo: str | None = ((spec.get("source") or {}).get("huggingFace") or {}).get("repo")
    return repo


def _refused(sentence: str) -> LoadFailed:
    return LoadFailed("NotDeleted", sentence)


def _delete(folder: Path) -> None:
    """Out of sight at once, so that nobody ever takes a half of it for the whole."""
    if not folder.exists():
        return
    gone = folder.with_name(f".deleted-{new_nonce()}")
    folder.rename(gone)
    shutil.rmtree(gone)
