"""A real api process on a real RabbitMQ with a scripted worker: what the console is tested on."""

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import yaml
from PIL import Image
from playwright.async_api import Page
from tests.api.scripted_worker import ScriptedWorker, captioned, working

from captionfleet.broker.names import Names
from captionfleet.messages import Outcome, ResultMessage, TaskMessage

MODELS: dict[str, dict[str, Any]] = {
    "alpha": {"displayName": "Alpha", "prompts": [{"name": "brief", "text": "Be brief."}]},
    "beta": {"displayName": "Beta", "prompts": [{"name": "brief", "text": "In short:"}]},
    "gamma": {"displayName": "Gamma"},
}


@dataclass
class Script:
    """What the worker says: a caption with the model's name, unless the test wants otherwise."""

    texts: dict[str, str] = field(default_factory=dict)
    """Model -> caption."""
    failing: set[str] = field(default_factory=set)
    """Models that fail."""
    cut: set[str] = field(default_factory=set)
    """Models whose captions end at the token limit."""
    holding: bool = False
    """Take tasks and answer none."""

    def reset(self) -> None:
        self.texts, self.failing, self.cut, self.holding = {}, set(), set(), False

    def answer(self, message: TaskMessage, deliveries: int) -> list[ResultMessage]:
        return [] if self.holding else [self.result(message)]

    def result(self, message: TaskMessage) -> ResultMessage:
        right = captioned(message)
        if message.model in self.failing:
            return right.model_copy(
                update={"outcome": Outcome.FAILED, "text": None, "error_code": "model_error",
                        "error_message": "the model's own code failed: shapes do not match"}
            )  # fmt: skip
        text = self.texts.get(message.model, f"{message.model} sees {message.sha256[:6]}")
        finish = "length" if message.model in self.cut else "stop"
        return right.model_copy(update={"text": text, "finish": finish})


@dataclass
class Stage:
    folder: Path
    url: str
    environment: dict[str, str]
    script: Script
    worker: ScriptedWorker
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the api, or start it again at the same address."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "captionfleet_api",
            env=self.environment, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout
        line = (await asyncio.wait_for(self.process.stdout.readline(), 60)).decode()
        assert line.startswith("ready http"), line
        self.url = line.split()[1].rstrip("/")
        self.environment["CAPTIONFLEET_PORT"] = self.url.rsplit(":", 1)[1]

    async def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        assert self.process
        if self.process.returncode is None:
            self.process.send_signal(how)
        await self.process.wait()

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"{self.url}/api/v1", timeout=60)

    async def job(
        self, *pictures: str, models: Iterable[str] = ("alpha", "beta"), **more: Any
    ) -> str:
        """A job of plain pictures under these file names. Returns its id."""
        async with self.client() as client:
            images = []
            for name in pictures:
                answer = await client.post(
                    "/images", content=picture_of(name), params={"filename": name},
                    headers={"content-type": "image/png"},
                )  # fmt: skip
                images.append({"id": answer.json()["id"], "filename": name})
            body = {"images": images, "models": list(models), "name": "test job", **more}
            answer = await client.post("/jobs", json=body)
            assert answer.status_code == 202, answer.text
            return str(answer.json()["id"])

    async def ended(self, job: str) -> None:
        """Wait until nothing of the job is waiting any more."""
        async with self.client() as client, client.stream("GET", f"/jobs/{job}/events") as story:
            async for line in story.aiter_lines():
                if line == "event: done":
                    return

    async def release(self) -> None:
        """Answer what is held, and hold nothing any more."""
        self.script.holding = False
        for message in list(self.worker.seen):
            if message.token in self.worker.held:
                await self.worker.finish(message, self.script.result(message))

    def say(self, model: str, **status: Any) -> None:
        """Write the status that an operator would write."""
        place = self.folder / "data" / "status" / "CaptionModel"
        (place / f"{model}.json").write_text(json.dumps(status))


@asynccontextmanager
async def running_stage(
    folder: Path, broker_url: str, names: Names, **settings: str
) -> AsyncIterator[Stage]:
    catalog = folder / "catalog"
    catalog.mkdir(parents=True)
    (folder / "data" / "status" / "CaptionModel").mkdir(parents=True)
    (catalog / "models.yaml").write_text("---\n".join(yaml.safe_dump(m) for m in manifests()))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CAPTIONFLEET_")}
    environment |= {
        "RABBITMQ_URL": broker_url, "CAPTIONFLEET_FLEET": names.fleet, "CAPTIONFLEET_PORT": "0",
        "CAPTIONFLEET_CATALOG": str(catalog), "CAPTIONFLEET_DATA": str(folder / "data"),
        **settings,
    }  # fmt: skip
    script = Script()
    worker = ScriptedWorker(
        broker_url, names, tuple(MODELS), answer=lambda m, n: script.answer(m, n)
    )
    stage = Stage(folder, "", environment, script, worker)
    async with working(worker):
        await stage.start()
        try:
            yield stage
        finally:
            await stage.kill(signal.SIGTERM)


def manifests() -> list[dict[str, Any]]:
    common = {"apiVersion": "captionfleet.io/v1alpha1", "kind": "CaptionModel"}
    return [
        {**common, "metadata": {"name": name}, "spec": {**source_of(name), **spec}}
        for name, spec in MODELS.items()
    ]


def source_of(model: str) -> dict[str, Any]:
    """The same as the scripted worker says it loaded."""
    return {"source": {"huggingFace": {"repo": f"somebody/{model}"}}}


def picture_of(name: str) -> bytes:
    """A plain picture whose color comes from its name: other names, other bytes."""
    file = BytesIO()
    color = tuple(hashlib.sha256(name.encode()).digest()[:3])
    Image.new("RGB", (64, 48), color).save(file, "PNG")
    return file.getvalue()


DROP = """async ([files, event]) => {
  const data = new DataTransfer();
  for (const [name, bytes, type] of files) {
    data.items.add(new File([new Uint8Array(bytes)], name, { type, lastModified: 1 }));
  }
  const given = { bubbles: true, cancelable: true };
  document.body.dispatchEvent(event === "paste"
    ? new ClipboardEvent("paste", { ...given, clipboardData: data })
    : new DragEvent("drop", { ...given, dataTransfer: data }));
}"""


async def hand_over(page: Page, files: dict[str, bytes], event: str = "drop") -> None:
    """Drop (or paste) these files on the page, as a person does with a mouse."""
    given = [[name, list(content), _type(name)] for name, content in files.items()]
    await page.evaluate(DROP, [given, event])


def _type(name: str) -> str:
    suffix = name.rsplit(".", 1)[-1]
    return {"png": "image/png", "jpg": "image/jpeg"}.get(suffix, "text/plain")
