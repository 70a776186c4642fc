"""From what a person sent to a CaptionModel that runs it: check, record, put into the catalog."""

import asyncio
from dataclasses import dataclass, replace

import structlog

from captionfleet.catalog import Catalog, CatalogError, Conflict, NotFound, Unavailable
from captionfleet.code_check import Checked, CodeProblem, check_code
from captionfleet.resources import InvalidManifest, Manifest, ModelManifest, ModelSpec
from captionfleet.resources.manifest import Metadata, parse_manifest
from captionfleet.resources.model import Custom, Source
from captionfleet_api.code.history import Code, History
from captionfleet_api.code.requests import CodeAsked
from captionfleet_api.store.tables import CodeVersion

log = structlog.get_logger()

_LONGEST_NAME = 40


class CodeRefused(Exception):
    """The check found reasons to refuse; there is at least one."""

    def __init__(self, problems: tuple[CodeProblem, ...]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True)
class Published:
    """`created`: it is new, and not what the model had already."""

    version: CodeVersion
    created: bool


@dataclass(frozen=True)
class Judged:
    """Code that passed the check, under the name it will have."""

    name: str
    code: Code
    checked: Checked


class Publishing:
    """One change at a time: versions take effect in the order of their numbers."""

    def __init__(self, catalog: Catalog, history: History, author: str) -> None:
        self._catalog = catalog
        self._history = history
        self._author = author
        self._turn = asyncio.Lock()

    async def judge(self, asked: CodeAsked) -> Judged:
        """As an upload would, and change nothing. Raises CodeRefused, CatalogError."""
        checked = await asyncio.to_thread(check_code, asked.files, asked.entrypoint)
        if not checked.entrypoint:
            raise CodeRefused(checked.problems)
        name = asked.name or _named_after(checked.entrypoint)
        code = await self._completed(name, asked, checked.entrypoint)
        checked = await _check(code)
        await self._check_uploaded(name)
        await self._catalog.put(self._manifest(name, code), dry_run=True)
        return Judged(name, code, checked)

    async def upload(self, asked: CodeAsked) -> Published:
        async with self._turn:
            judged = await self.judge(asked)
            return await self._publish(judged.name, judged.code, "uploaded")

    async def change_kwargs(self, name: str, kwargs: dict[str, str]) -> Published:
        async with self._turn:
            self._check_there(name)
            newest = await self._history.newest(name)
            if newest is None:
                raise NotFound(f"CaptionModel {name} has no uploaded code: change its manifest")
            code = replace(Code.of(newest), kwargs=kwargs)
            await _check(code)
            return await self._publish(name, code, "arguments changed")

    async def roll_back(self, name: str, number: int) -> Published:
        async with self._turn:
            version = await self._history.version(name, number)
            if version is None or version.applied_at is None:
                raise NotFound(f"CaptionModel {name} never ran a version {number}")
            return await self._publish(name, Code.of(version), f"back to version {number}")

    async def _check_uploaded(self, name: str) -> None:
        there = self._known().get(name)
        if there is None:
            return
        custom = there.spec.custom
        if not (custom and custom.is_brought and await self._history.newest(name)):
            raise Conflict(
                f"CaptionModel {name} is there already and was not uploaded: upload under another "
                "name, or delete it first"
            )

    async def _completed(self, name: str, asked: CodeAsked, entrypoint: str) -> Code:
        """What was not sent stays as it was."""
        newest = await self._history.newest(name)
        there = self._known().get(name)
        source = asked.source or (there.spec.source if there else None)
        kwargs = asked.kwargs
        if kwargs is None:
            kwargs = newest.kwargs if newest and there else {}
        written = source.as_manifest() if source else None
        return Code(tuple(asked.files), entrypoint, kwargs, written)

    async def _publish(self, name: str, code: Code, note: str) -> Published:
        await self._check_uploaded(name)
        newest = await self._history.newest(name)
        manifest = self._manifest(name, code)
        if newest and name in self._known() and Code.of(newest) == code:
            await self._catalog.put_code(manifest)  # in case that somebody changed it meanwhile
            return Published(newest, created=False)
        version = await self._history.add(name, code, self._author, note)
        try:
            await self._catalog.put_code(manifest)
        except Unavailable:
            raise  # it may have arrived all the same: the record stays
        except (CatalogError, InvalidManifest):
            await self._history.refused(version)
            raise
        await self._history.applied(version)
        log.info(
            "code taken", model=name, version=version.number, sha256=version.sha256,
            author=version.author, note=note,
        )  # fmt: skip
        return Published(version, created=True)

    def _manifest(self, name: str, code: Code) -> ModelManifest:
        """The model as it is, with other code. Raises InvalidManifest."""
        custom = Custom(entrypoint=code.entrypoint, kwargs=code.kwargs, files=list(code.files))
        source = None if code.source is None else Source.model_validate(code.source)
        there = self._known().get(name)
        update = {"custom": custom, "source": source}
        spec = there.spec.model_copy(update=update) if there else ModelSpec(**update)
        metadata = there.metadata.model_copy(update=_UNWRITTEN) if there else _metadata(name)
        manifest: Manifest = ModelManifest(metadata=metadata, spec=spec)
        judged = parse_manifest(manifest.as_manifest())
        assert isinstance(judged, ModelManifest)
        return judged

    def _check_there(self, name: str) -> None:
        if name not in self._known():
            raise NotFound(f"there is no CaptionModel named {name}: upload its code again")

    def _known(self) -> dict[str, ModelManifest]:
        if not self._catalog.complete():
            why = self._catalog.trouble() or "try again in a moment"
            raise Unavailable(f"the models were not read yet: {why}")
        return self._catalog.models()


_UNWRITTEN = {"generation": 1, "creation_timestamp": None, "deletion_timestamp": None, "uid": None}


async def _check(code: Code) -> Checked:
    checked = await asyncio.to_thread(check_code, code.files, code.entrypoint, code.kwargs)
    if checked.problems:
        raise CodeRefused(checked.problems)
    return checked


def _metadata(name: str) -> Metadata:
    return Metadata.model_construct(name=name)  # judged with the rest, in the words of manifests


def _named_after(entrypoint: str) -> str:
    module = entrypoint.partition(":")[0]
    return module.lower().replace("_", "-").strip("-")[:_LONGEST_NAME].strip("-")
