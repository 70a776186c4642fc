"""Deletes a model's downloads from a cache that is the workers' own, unless something uses them."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.fetching.cache import Repository, to_ourselves
from captionfleet_worker.fetching.uses import Uses
from captionfleet_worker.files_here import hub_repository


async def delete_files(
    spec: Mapping[str, Any], cache: Path | None, uses: Uses, others: Mapping[str, Mapping[str, Any]]
) -> None:
    """`spec` in manifest form; `cache`: the workers' own, None if they have none; `uses`: its
    marks; `others`: the specs of models that have a copy on this worker.

    Raises LoadFailed, in words for people, if the files are not ours to delete, or are in use.
    """
    repo = hub_repository(spec)
    if repo is None:
        place = (spec.get("source") or {}).get("volume", {}).get("path", "custom_infer")
        raise _refused(f"its files are a person's own, in {place}: only downloads are deleted")
    if cache is None:
        raise _refused(
            "its files lie in the Hugging Face cache of this machine, which other programs use "
            "too: give the pool a cache of its own by spec.cache, or delete them by hand"
        )
    if users := sorted(name for name, other in others.items() if hub_repository(other) == repo):
        raise _refused(f"{', '.join(users)} uses the same files on this worker: unload it first")
    try:
        await asyncio.to_thread(_delete, Repository(cache, repo), uses)
    except OSError as error:
        raise LoadFailed("DiskError", f"its files could not be deleted: {error}", True) from None


def _delete(repository: Repository, uses: Uses) -> None:
    with to_ourselves(repository.cache):
        if uses.used_by_others(repository):
            raise LoadFailed(
                "NotDeleted",
                "another worker with the same cache uses its files: unload it there first",
                retriable=True,
            )
        repository.remove()
        uses.forget(repository)


def _refused(sentence: str) -> LoadFailed:
    return LoadFailed("NotDeleted", sentence)
