"""A catalog that is a folder of YAML manifests, watched, with statuses in the data folder.

Manifests may be anywhere below the folder except in hidden folders. REST writes go to `managed/`;
files that people wrote are never touched. Classes in `custom_infer/` are offered as models, under
names that no manifest has.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
import yaml
from watchfiles import Change, awatch

from captionfleet.catalog.custom_folder import offered_models
from captionfleet.catalog.protocol import Conflict, NotFound
from captionfleet.resources import (
    KINDS,
    InvalidManifest,
    Manifest,
    ModelManifest,
    PoolManifest,
    parse_manifest,
)
from captionfleet.resources.base import Resource
from captionfleet.resources.manifest import as_written

log = structlog.get_logger()

MANAGED = "managed"
_SUFFIXES = (".yaml", ".yml", ".json")
_LARGEST_MANIFEST = 2**20
# Some file systems tell nothing of changes: look again after this long.
_LOOK_AGAIN_MS = 5000


@dataclass(frozen=True)
class _Found:
    """One accepted manifest and the file it stands in."""

    manifest: Manifest
    file: Path

    @property
    def offered(self) -> bool:
        """By a class in custom_infer: any manifest of that name takes its place."""
        return self.file.suffix == ".py"


@dataclass
class _Seen:
    """What one reading of the folder gave."""

    found: dict[tuple[str, str], _Found] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class FolderCatalog:
    """See Catalog. `data` holds statuses; `custom` the folder of custom models."""

    def __init__(self, folder: Path, data: Path, custom: Path | None = None) -> None:
        self.folder = folder.resolve()
        self.custom = (custom or custom_folder(self.folder)).resolve()
        self._statuses = data.resolve() / "status"
        self._seen = _Seen()
        self.refresh()

    def models(self) -> dict[str, ModelManifest]:
        return {
            f.manifest.name: f.manifest
            for f in self._seen.found.values()
            if isinstance(f.manifest, ModelManifest)
        }

    def pools(self) -> dict[str, PoolManifest]:
        return {
            f.manifest.name: f.manifest
            for f in self._seen.found.values()
            if isinstance(f.manifest, PoolManifest)
        }

    def problems(self) -> list[str]:
        return list(self._seen.problems)

    def complete(self) -> bool:
        return True

    def trouble(self) -> str:
        return ""

    async def close(self) -> None:
        pass

    async def watch(self) -> AsyncIterator[None]:
        while True:
            self._statuses.mkdir(parents=True, exist_ok=True)
            places = self._places()
            changes = awatch(
                *places, recursive=False, watch_filter=_is_ours,
                debounce=200, step=50, rust_timeout=_LOOK_AGAIN_MS, yield_on_timeout=True,
            )  # fmt: skip
            # Watching begins with the first step: take it before reading, so that nothing is
            # missed in between.
            step = asyncio.ensure_future(anext(changes))
            try:
                await asyncio.sleep(0)
                await asyncio.to_thread(self.refresh)
                yield
                while places == self._places():
                    await step
                    step = asyncio.ensure_future(anext(changes))
                    before = self._seen
                    await asyncio.to_thread(self.refresh)
                    if self._seen != before:
                        yield
            finally:
                step.cancel()
                await asyncio.gather(step, return_exceptions=True)

    def _places(self) -> set[Path]:
        """Every folder that may hold manifests. Hidden ones are left out: data lives in one."""
        below = {Path(place) for place, _ in _walk(self.folder)}
        kinds = {self._statuses / kind for kind in KINDS if (self._statuses / kind).is_dir()}
        return below | {p for p in (self.custom, self._statuses) if p.is_dir()} | kinds

    def refresh(self) -> None:
        """Read the folder anew. Kept apart from watch() so that a caller may insist."""
        seen = _read(self.folder, self.custom)
        for key, last in self._seen.found.items():
            # A file that is half saved or broken now is no deletion: what it said last counts.
            broken = any(problem.startswith(f"{last.file}:") for problem in seen.problems)
            if key not in seen.found and broken and last.file.exists():
                seen.found[key] = last
        for key, each in seen.found.items():
            seen.found[key] = _Found(self._dressed(each.manifest, each.file), each.file)
        self._seen = seen

    async def put(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        own = self.folder / MANAGED / f"{manifest.kind}-{manifest.name}.yaml"
        there = self._seen.found.get((manifest.kind, manifest.name))
        if there and there.offered:
            self.refresh()  # a file of that name may have been saved this moment
            there = self._seen.found.get((manifest.kind, manifest.name))
        manifest = parse_manifest(manifest.as_manifest(), there.manifest if there else None)
        if there and there.file != own and not there.offered:
            if as_written(there.manifest) == as_written(manifest):
                return there.manifest
            raise Conflict(
                f"{manifest.kind} {manifest.name} is defined in {there.file}: change that file"
            )
        text = yaml.safe_dump(as_written(manifest), sort_keys=False, allow_unicode=True)
        if len(text.encode()) > _LARGEST_MANIFEST:
            name = f"{manifest.kind} {manifest.name}"
            raise InvalidManifest([f"{name} is larger than 1 MiB as YAML: bring less code with it"])
        if not dry_run:
            own.parent.mkdir(parents=True, exist_ok=True)
            _replace(own, text)
            self.refresh()
            return self._seen.found[(manifest.kind, manifest.name)].manifest
        return manifest

    async def put_code(self, model: ModelManifest) -> Manifest:
        """A manifest is a good place for code: it stands in the same file."""
        return await self.put(model)

    async def delete(self, kind: str, name: str) -> None:
        there = self._seen.found.get((kind, name))
        if there is None:
            raise NotFound(f"there is no {kind} named {name}")
        if there.file.parent != self.folder / MANAGED:
            raise Conflict(f"{kind} {name} is defined in {there.file}: remove it there")
        there.file.unlink()
        self.refresh()

    async def write_status(self, kind: str, name: str, status: Resource) -> None:
        file = self._statuses / kind / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        _replace(file, json.dumps(status.as_manifest(), indent=1))

    def _dressed(self, manifest: Manifest, file: Path) -> Manifest:
        """Add what a catalog adds: generation, age, uid, status."""
        metadata = manifest.metadata.model_copy(
            update={"generation": _generation(manifest), "creation_timestamp": _written_at(file)}
        )
        return manifest.model_copy(update={"metadata": metadata, "status": self._status(manifest)})

    def _status(self, manifest: Manifest) -> Resource | None:
        file = self._statuses / manifest.kind / f"{manifest.name}.json"
        type_ = KINDS[manifest.kind].model_fields["status"].annotation
        try:
            document = json.loads(file.read_text())
            return next(t for t in type_.__args__ if t is not type(None)).model_validate(document)  # type: ignore[union-attr, no-any-return]
        except (OSError, ValueError):
            return None  # not written yet, or by another version: the operator writes it anew


def custom_folder(folder: Path) -> Path:
    """FOLDER/custom_infer if it is there, else ./custom_infer."""
    return folder / "custom_infer" if (folder / "custom_infer").is_dir() else Path("custom_infer")


def read_manifests(file: Path) -> list[Manifest]:
    """All manifests of one file. Raises InvalidManifest with the file's name in each sentence."""
    manifests, problems = _read_file(file)
    if problems:
        raise InvalidManifest(problems)
    return manifests


def _read(folder: Path, custom: Path) -> _Seen:
    seen = _Seen()
    for file in sorted(_files(folder)):
        manifests, problems = _read_file(file)
        seen.problems.extend(problems)
        for manifest in manifests:
            first = seen.found.get((manifest.kind, manifest.name))
            if first:
                seen.problems.append(
                    f"{file}: {manifest.kind} {manifest.name} is already defined in {first.file}; "
                    "the first one counts: rename or remove this one"
                )
            else:
                seen.found[(manifest.kind, manifest.name)] = _Found(
                    _anchored(manifest, file.parent), file
                )
    for model, file in offered_models(custom, seen.problems):
        seen.found.setdefault((model.kind, model.name), _Found(model, file))
    return seen


def _walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """(place, file names) of every folder that is neither hidden nor custom code."""
    for place, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".") and f != "custom_infer"]
        yield place, files


def _files(folder: Path) -> Iterator[Path]:
    for place, files in _walk(folder):
        for name in files:
            if name.endswith(_SUFFIXES) and not name.startswith("."):
                file = Path(place) / name
                if not name.endswith(".json") or _names_us(file):
                    yield file


def _names_us(file: Path) -> bool:
    """JSON is mostly other people's, and may be large: look at its beginning only."""
    try:
        with file.open("rb") as opened:
            return b"captionfleet.io/" in opened.read(65536)
    except OSError:
        return False


def _read_file(file: Path) -> tuple[list[Manifest], list[str]]:
    manifests: list[Manifest] = []
    problems: list[str] = []
    try:
        if file.stat().st_size > _LARGEST_MANIFEST:
            return [], [f"{file}: larger than 1 MiB, which no manifest is"]
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return [], [f"{file}: not readable as YAML: {' '.join(str(error).split())}"]
    for document in documents:
        if document is None or not _claims_to_be_ours(document):
            continue
        try:
            manifests.append(parse_manifest(document))
        except InvalidManifest as error:
            metadata = document.get("metadata")
            name = metadata.get("name") if isinstance(metadata, dict) else "without a name"
            problems.extend(f"{file}: {document.get('kind')} {name}: {p}" for p in error.problems)
    return manifests, problems


def _claims_to_be_ours(document: Any) -> bool:
    """A folder may hold other people's YAML too; only what names our API is judged."""
    return isinstance(document, dict) and str(document.get("apiVersion", "")).startswith(
        "captionfleet.io/"
    )


def _anchored(manifest: Manifest, folder: Path) -> Manifest:
    """Make a relative spec.source.volume.path absolute: it starts at the manifest's folder."""
    if not isinstance(manifest, ModelManifest) or not manifest.spec.source:
        return manifest
    volume = manifest.spec.source.volume
    if volume is None or Path(volume.path).is_absolute():
        return manifest
    absolute = volume.model_copy(update={"path": str((folder / volume.path).resolve())})
    source = manifest.spec.source.model_copy(update={"volume": absolute})
    return manifest.model_copy(update={"spec": manifest.spec.model_copy(update={"source": source})})


def _generation(manifest: Manifest) -> int:
    """Another number for another spec, the same in every program and after every restart.

    A folder keeps no count of changes, so this is a digest: compare it, never order it.
    """
    return int(hashlib.sha256(manifest.spec.model_dump_json().encode()).hexdigest()[:7], 16)


def _replace(file: Path, text: str) -> None:
    """Write so that a reader sees the old text or the new, never a part."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(file)


def _written_at(file: Path) -> str | None:
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")
    except FileNotFoundError:
        return None  # removed this moment: the next reading knows


def _is_ours(_: Change, path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return not name.startswith(".") and name.endswith((*_SUFFIXES, ".py"))
