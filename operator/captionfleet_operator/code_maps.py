"""Code of models that stands in ConfigMaps: read once, for they never change, and looked for again
now and then, for they may be deleted."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from captionfleet.catalog.kubernetes_errors import KubernetesError
from captionfleet.resources import ModelManifest
from captionfleet.resources.model import CustomFile

Files = tuple[CustomFile, ...]
Fetch = Callable[[str], Awaitable[Mapping[str, Any] | None]]
"""A ConfigMap by its name; None if there is none. Raises KubernetesError."""


class CodeMaps:
    """`fetch` is None where there are no ConfigMaps: in a folder."""

    def __init__(self, fetch: Fetch | None = None) -> None:
        self._fetch = fetch
        self._files: dict[str, Files] = {}
        self._troubles: dict[str, str] = {}
        self._doubted: frozenset[str] = frozenset()

    def doubt(self) -> None:
        """Read all of them again at the next look: they never change, but may be deleted."""
        self._doubted = frozenset(self._files)

    async def look(self, models: Mapping[str, ModelManifest]) -> None:
        """Read what is named and not known; what could not be read is tried at each look."""
        named = {name for model in models.values() if (name := named_map(model))}
        known = {name: files for name, files in self._files.items() if name in named}
        unsure = sorted(named - (known.keys() - self._doubted))
        self._doubted = frozenset()
        read = dict(zip(unsure, await asyncio.gather(*map(self._read, unsure)), strict=True))
        self._troubles = {name: each for name, each in read.items() if isinstance(each, str)}
        good = {name: each for name, each in read.items() if not isinstance(each, str)}
        self._files = {name: known[name] for name in known.keys() - read.keys()} | good

    def files(self, model: ModelManifest) -> Files:
        """What its ConfigMap holds; nothing if it names none, or there is a trouble."""
        return self._files.get(named_map(model), ())

    def trouble(self, model: ModelManifest) -> str:
        """Why its code is not known, and what to do; empty if it is."""
        return self._troubles.get(named_map(model), "")

    async def _read(self, name: str) -> Files | str:
        if self._fetch is None:
            return (
                f"custom.configMapRef {name} needs Kubernetes: write the code into custom.files, "
                "or put it into the custom_infer folder"
            )
        try:
            return judged(name, await self._fetch(name))
        except KubernetesError as error:  # what was read before is still what it holds
            return self._files.get(name) or (
                f"the ConfigMap {name} with its code cannot be read: {error}"
            )


def named_map(model: ModelManifest) -> str:
    custom = model.spec.custom
    return custom.config_map_ref.name if custom and custom.config_map_ref else ""


def judged(name: str, document: Mapping[str, Any] | None) -> Files | str:
    """The files of a ConfigMap, or why they cannot be used."""
    if document is None:
        return (
            f"there is no ConfigMap {name}, which holds its code: upload the code again, or "
            "correct spec.custom.configMapRef.name"
        )
    if document.get("immutable") is not True:
        return (
            f"the ConfigMap {name} may change without anybody noticing: set immutable: true in "
            "it, and give changed code a ConfigMap of another name"
        )
    if not document.get("data"):
        return f"the ConfigMap {name} holds no file: give it a key such as my_model.py"
    try:
        return tuple(
            CustomFile(path=path, content=text) for path, text in sorted(document["data"].items())
        )
    except ValueError:
        return f"a file in the ConfigMap {name} is larger than 100,000 characters: split it"
