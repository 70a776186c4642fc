"""Whether the code of a model is here, and which: in its manifest, or in the watched folder.

Saving a file of the folder reloads the engines that use it, and no others.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import structlog
from watchfiles import Change, awatch

from captionfleet.catalog.custom_folder import FoundClass, find_classes
from captionfleet.messages import reported_as
from captionfleet.resources.model import code_file

log = structlog.get_logger()

# Looking once a second keeps an idle worker asleep; a reload takes longer anyway.
_STEP_MS = 1000
_LOOK_AGAIN_SECONDS = 5


class CustomCode:
    """The classes in the folder, as they were read last."""

    def __init__(self, folder: Path, changed: Callable[[], None]) -> None:
        self._folder = folder
        self._changed = changed
        self._problems: list[str] = []
        self.classes: list[FoundClass] = []
        self.refresh()

    def sha256_of(self, entrypoint: str) -> str | None:
        """Digest of the code behind `module:Class`; None if the folder has no such class."""
        named = reported_as(entrypoint)
        return next((each.sha256 for each in self.classes if each.entrypoint in named), None)

    def refresh(self) -> None:
        problems: list[str] = []
        classes = find_classes(self._folder, problems)
        for problem in problems:
            if problem not in self._problems:
                log.warning("custom code not readable", problem=problem)
        self._problems = problems
        if classes != self.classes:
            self.classes = classes
            self._changed()

    async def watch(self) -> None:
        """Refresh after every change, until cancelled. The folder may come and go."""
        while True:
            if _there(self._folder):
                async for _ in _changes(self._folder):
                    self.refresh()
            self.refresh()
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)


def code_of(spec: Mapping[str, Any], found: Callable[[str], str | None]) -> str | None:
    """Digest of the code behind the entrypoint of a spec in manifest form; None if there is none.

    The manifest's own files win; `found` tells what the folder has.
    """
    custom = spec.get("custom")
    if not custom:
        return None
    files = {str(PurePosixPath(each["path"])): each["content"] for each in custom.get("files", ())}
    if code_file(custom["entrypoint"]) in files:
        return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    return found(custom["entrypoint"])


async def _changes(folder: Path) -> AsyncIterator[None]:
    """Yield once watching has begun, and after every change; end when the folder is gone."""
    changes = awatch(
        folder, recursive=True, watch_filter=_is_code, debounce=_STEP_MS, step=_STEP_MS,
        rust_timeout=_LOOK_AGAIN_SECONDS * 1000, yield_on_timeout=True,
    )  # fmt: skip
    step = asyncio.ensure_future(anext(changes))
    try:
        await asyncio.sleep(0)  # the first step begins the watch: nothing is missed after it
        yield
        while _there(folder):
            if await step:
                yield
            step = asyncio.ensure_future(anext(changes))
    finally:
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)


def _there(folder: Path) -> bool:
    return folder.is_dir()


def _is_code(_: Change, path: str) -> bool:
    return path.endswith(".py")
