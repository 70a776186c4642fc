"""The versions of a model's code in the database. A version is written once; nothing removes it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update

from captionfleet.catalog.code import digest_of, stands_for
from captionfleet.resources import ModelManifest
from captionfleet.resources.model import CustomFile
from captionfleet_api.store.engine import Database
from captionfleet_api.store.tables import CodeVersion


@dataclass(frozen=True)
class Code:
    """What a version consists of. `source` is spec.source in manifest form."""

    files: tuple[CustomFile, ...]
    entrypoint: str
    kwargs: dict[str, str]
    source: dict[str, Any] | None = None

    @classmethod
    def of(cls, version: CodeVersion) -> "Code":
        files = tuple(CustomFile.model_validate(each) for each in version.files)
        return cls(files, version.entrypoint, version.kwargs, version.source)


class History:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def versions(self, model: str) -> Sequence[CodeVersion]:
        """Newest first."""
        of_model = select(CodeVersion).where(CodeVersion.model == model)
        async with self._database.read() as session:
            return (await session.scalars(of_model.order_by(CodeVersion.number.desc()))).all()

    async def newest(self, model: str) -> CodeVersion | None:
        """Of those that took effect."""
        applied = (CodeVersion.model == model, CodeVersion.applied_at.is_not(None))
        newest = select(CodeVersion).where(*applied).order_by(CodeVersion.number.desc()).limit(1)
        async with self._database.read() as session:
            return (await session.scalars(newest)).one_or_none()

    async def version(self, model: str, number: int) -> CodeVersion | None:
        async with self._database.read() as session:
            return await session.get(CodeVersion, (model, number))

    async def add(self, model: str, code: Code, author: str, note: str) -> CodeVersion:
        """Written before it takes effect, so that no code ever runs unrecorded."""
        async with self._database.write() as session:
            last = select(func.max(CodeVersion.number)).where(CodeVersion.model == model)
            version = CodeVersion(
                model=model,
                number=((await session.execute(last)).scalar_one() or 0) + 1,
                sha256=digest_of(code.files),
                author=author,
                note=note,
                created_at=time.time(),
                applied_at=None,
                entrypoint=code.entrypoint,
                kwargs=code.kwargs,
                files=[each.as_manifest() for each in code.files],
                source=code.source,
            )
            session.add(version)
        return version

    async def applied(self, version: CodeVersion) -> None:
        """The catalog has taken it."""
        version.applied_at = time.time()
        async with self._database.write() as session:
            await session.execute(
                update(CodeVersion).where(*_is(version)).values(applied_at=version.applied_at)
            )

    async def refused(self, version: CodeVersion) -> None:
        """The catalog did not take it: as if it had never been sent."""
        async with self._database.write() as session:
            await session.execute(delete(CodeVersion).where(*_is(version)))


def current(versions: Sequence[CodeVersion], model: ModelManifest | None) -> int | None:
    """Number of the version that the model stands for now; None if it was changed elsewhere."""
    custom = model.spec.custom if model else None
    for each in versions:
        if (
            custom
            and (custom.entrypoint, custom.kwargs) == (each.entrypoint, each.kwargs)
            and stands_for(custom, each.sha256)
        ):
            return each.number
    return None


def _is(version: CodeVersion) -> tuple[Any, Any]:
    return CodeVersion.model == version.model, CodeVersion.number == version.number
