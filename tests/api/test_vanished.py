"""Models that are gone from the catalog, and what becomes of their open tasks."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.api.flow_parts import Store, catalog_of, open_store

from captionfleet.catalog import FolderCatalog
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.vanished import Vanished


@dataclass
class Scene:
    store: Store
    catalog: FolderCatalog
    now: float = 0.0

    def __post_init__(self) -> None:
        self.vanished = Vanished(self.store.database, self.catalog, Changes(), 60, lambda: self.now)

    async def judge_after(self, seconds: float) -> list[str]:
        """The states of all tasks after the model `m` has been judged again."""
        self.now += seconds
        await self.vanished.judge(["m"])
        return await self.store.states()


@pytest.fixture
async def scene(tmp_path: Path, database_url: str) -> AsyncIterator[Scene]:
    async with open_store(tmp_path, database_url) as store:
        await store.submit([b"a"], ["m"])
        yield Scene(store, catalog_of(tmp_path))


async def test_tasks_of_a_deleted_model_wait_and_then_fail(scene: Scene) -> None:
    assert await scene.judge_after(0) == ["pending"]
    assert "m" in scene.vanished.sentences()
    assert await scene.judge_after(59) == ["pending"]
    assert await scene.judge_after(1) == ["failed"]


async def test_in_a_catalog_that_was_not_read_yet_nothing_is_deleted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as unread:
        unread.setattr(scene.catalog, "complete", lambda: False)
        assert await scene.judge_after(0) == ["pending"]
        assert await scene.judge_after(3600) == ["pending"]
    assert scene.vanished.sentences() == {}
    assert await scene.judge_after(0) == ["pending"]  # the wait begins only now
