"""What the tests of the doors share: the application on a real database, without a broker."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from sqlalchemy import select
from tests.conftest import SHAPES

from captionfleet.messages import Outcome, ResultMessage
from captionfleet_api.app import create_app
from captionfleet_api.jobs import transitions
from captionfleet_api.parts import Parts
from captionfleet_api.settings import ApiSettings
from captionfleet_api.store.installation import installation_id
from captionfleet_api.store.migrate import migrate
from captionfleet_api.store.tables import Task, TaskState

PICTURES = SHAPES / "pictures"
MANIFESTS = """
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {name: alpha}
spec:
  custom: {entrypoint: "alpha:Alpha"}
  prompts: [{name: short, text: Be brief.}, {name: long, text: Say all.}]
---
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {name: beta}
spec: {custom: {entrypoint: "beta:Beta"}, prompts: [{name: short, text: "In short:"}]}
"""


@dataclass(frozen=True)
class Doors:
    """The doors, and the parts behind them."""

    client: httpx.AsyncClient
    parts: Parts

    async def upload(self, *colors: str) -> list[str]:
        """Upload plain pictures; their ids."""
        ids = []
        for color in colors:
            answer = await self.client.post("/api/v1/images", content=picture(color))
            assert answer.status_code == 201, answer.text
            ids.append(answer.json()["id"])
        return ids

    async def make_job(self, *colors: str, models: Sequence[str] = ("alpha",), **more: Any) -> Any:
        body = {"images": await self.upload(*colors), "models": list(models), **more}
        answer = await self.client.post("/api/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self.client.get(f"/api/v1{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def tasks(self, job: str) -> list[Any]:
        items: list[Any] = (await self.get(f"/jobs/{job}/tasks", limit=500))["items"]
        return items

    async def caption(self, *tasks: str, text: str = "a caption", seconds: float = 0.5) -> None:
        """Answer these tasks as a worker would."""
        await self._answer(tasks, Outcome.CAPTIONED, text=text, seconds=seconds)

    async def fail(self, *tasks: str, code: str = "model_error", message: str = "broke") -> None:
        await self._answer(tasks, Outcome.FAILED, error_code=code, error_message=message)

    async def queue(self, *tasks: str) -> None:
        """As if they were released to the broker."""
        async with self.parts.database.write() as session:
            rows = (await session.scalars(select(Task).where(Task.id.in_(tasks)))).all()
            for row in rows:
                row.state = TaskState.QUEUED
            await transitions.number(session, rows)
        self.parts.changes.tell({row.job for row in rows})

    async def _answer(self, tasks: Sequence[str], outcome: Outcome, **what: Any) -> None:
        async with self.parts.database.write() as session:
            rows = (await session.scalars(select(Task).where(Task.id.in_(tasks)))).all()
            for row in rows:
                if outcome is Outcome.FAILED:
                    transitions.to_failed(row, what["error_code"], what["error_message"], 1.0)
                else:
                    result = ResultMessage(
                        task=row.id, token="t", model=row.model, sha256=row.picture_sha256,
                        outcome=outcome, worker="w", revision="r1", finish="stop", tokens=3, **what,
                    )  # fmt: skip
                    transitions.to_captioned(row, result, 1.0)
            await transitions.record(session, rows, 1.0)
        self.parts.changes.tell({row.job for row in rows})


@asynccontextmanager
async def open_doors(folder: Path, **settings: Any) -> AsyncIterator[Doors]:
    """The application as this machine's browser would reach it. Nothing runs beside it."""
    catalog = folder / "catalog"
    catalog.mkdir(exist_ok=True)
    (catalog / "models.yaml").write_text(MANIFESTS)
    parts = Parts.of(ApiSettings(data=folder / "data", catalog=catalog, **settings))
    await migrate(parts.database)
    await installation_id(parts.database)
    transport = httpx.ASGITransport(create_app(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield Doors(client, parts)
    await parts.pictures.children.close()
    await parts.database.close()


def picture(color: str = "red", size: tuple[int, int] = (40, 30), format: str = "PNG") -> bytes:
    file = BytesIO()
    Image.new("RGB", size, color).save(file, format)
    return file.getvalue()
