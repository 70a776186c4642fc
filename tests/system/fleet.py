"""A whole captionfleet, started as people start it, with a model whose right answers are known.

The oracle model says the color of a plain picture, so a lost, doubled or crossed caption shows.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import httpx
import psutil
from PIL import Image
from tests.conftest import eventually
from tests.marked import lives, variable

from captionfleet.ids import new_nonce

ORACLE = '''
import os, time
from pathlib import Path
from captionfleet import CustomModel


class Oracle(CustomModel):
    """Says the color of a plain picture; obeys files in $ORACLE_ORDERS."""

    def load(self):
        self.orders = Path(os.environ["ORACLE_ORDERS"])

    def infer(self, image):
        color = "#%02x%02x%02x" % image.getpixel((image.width // 2, image.height // 2))
        if color == "#ff0000" and (self.orders / "poison").exists():
            os.abort()
        if color == "#00ff00" and (self.orders / "hang").exists():
            time.sleep(3600)
        time.sleep(float((self.orders / "seconds").read_text()))
        return color
'''
POISON, HANGING = (255, 0, 0), (0, 255, 0)

MANIFESTS = """
apiVersion: captionfleet.io/v1alpha1
kind: CaptionWorkerPool
metadata: {name: cpu}
spec:
  device: {type: CPU}
  autoscaling: {minReplicas: %(workers)d, maxReplicas: %(workers)d}
---
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {name: oracle-model}
spec:
  custom: {entrypoint: "oracle:Oracle"}
  batching: {maxBatchSize: 8}
  inference: {timeoutSeconds: %(timeout)d}
"""


def colors(count: int) -> list[tuple[int, int, int]]:
    """`count` different colors, far from those the oracle treats as orders."""
    return [(16 + i % 200, 16 + i // 200, 128) for i in range(count)]


def plain_picture(color: tuple[int, int, int]) -> bytes:
    file = BytesIO()
    Image.new("RGB", (64, 48), color).save(file, "PNG")
    return file.getvalue()


def hexadecimal(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


@dataclass
class Fleet:
    """A running `captionfleet up` and its doors."""

    folder: Path
    process: subprocess.Popen[str]
    url: str
    orders: Path
    output: list[str] = field(default_factory=list)
    known: set[psutil.Process] = field(default_factory=set)
    """Of its processes those that ran at the last look."""

    @property
    def data(self) -> Path:
        return self.folder / ".captionfleet"

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"{self.url}api/v1", timeout=60)

    def set_seconds(self, seconds: float) -> None:
        """How long the oracle takes for each picture from now on."""
        (self.orders / "seconds").write_text(str(seconds))

    def programs(self, module: str) -> list[psutil.Process]:
        """The live processes of this installation that run `python -m module`."""
        return [p for p in self.descendants() if f"-m {module} " in _command(p) + " "]

    def descendants(self) -> list[psutil.Process]:
        """Every live process that carries this installation's data folder in its environment.

        What was known once counts until it ends: an orphan has no parent to be known by.
        """
        orders = str(self.orders)
        mine = {p for p in psutil.process_iter() if variable(p, "ORACLE_ORDERS") == orders}
        self.known = {each for each in self.known | mine if lives(each)}
        return sorted(self.known, key=lambda each: each.pid)

    def stop(self) -> int:
        """SIGTERM to `up` alone; its exit code."""
        self.descendants()  # now they can be known
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


@contextmanager
def running_fleet(
    folder: Path,
    *,
    broker_url: str | None,
    workers: int = 1,
    timeout: int = 120,
    manifests: str | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Fleet]:
    """`captionfleet up` on a fresh folder; with broker_url None it starts its own RabbitMQ."""
    orders = folder / "orders"
    orders.mkdir(parents=True)
    (orders / "seconds").write_text("0.01")
    (folder / "custom_infer").mkdir()
    (folder / "custom_infer" / "oracle.py").write_text(ORACLE)
    values = {"workers": workers, "timeout": timeout}
    (folder / "fleet.yaml").write_text(manifests or MANIFESTS % values)
    env = {k: v for k, v in os.environ.items() if not k.startswith("CAPTIONFLEET_")}
    # The operator listens for 6 s before it acts; these tests have few workers to hear.
    env |= {"CAPTIONFLEET_LISTENING_SECONDS": "2.5"}
    env |= {"ORACLE_ORDERS": str(orders), "CAPTIONFLEET_ENGINE_ENV": "ORACLE_ORDERS"}
    env |= environment or {}
    env.pop("RABBITMQ_URL", None)
    if broker_url:
        env["RABBITMQ_URL"] = broker_url
    process = subprocess.Popen(
        [sys.executable, "-m", "captionfleet_cli", "up", str(folder), "--port", "0"],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    lines: Queue[str] = Queue()
    fleet = Fleet(folder, process, "", orders)
    reader = threading.Thread(target=_read, args=(process, fleet.output, lines))
    reader.start()
    try:
        fleet.url = _ready_url(process, lines, fleet.output)
        yield fleet
    finally:
        fleet.stop()
        left = fleet.descendants()
        for each in left:
            each.kill()
        reader.join()
        assert not left, f"left behind: {[_command(p) for p in left]}"


def _read(process: subprocess.Popen[str], output: list[str], lines: "Queue[str]") -> None:
    assert process.stdout
    with process.stdout:
        for line in process.stdout:
            output.append(line)
            lines.put(line)


def _ready_url(process: subprocess.Popen[str], lines: "Queue[str]", output: list[str]) -> str:
    while True:
        try:
            line = lines.get(timeout=90)
        except Empty:
            raise AssertionError(f"not ready after 90 s:\n{''.join(output)}") from None
        if line.startswith("ready http"):
            return line.split()[1]
        assert process.poll() is None, f"up ended:\n{''.join(output)}"


@asynccontextmanager
async def submitted(
    fleet: Fleet, pictures: list[tuple[int, int, int]], models: str = "oracle-model"
) -> AsyncIterator["Submission"]:
    """Upload plain pictures and make a job of them."""
    async with fleet.client() as client:
        images = await asyncio.gather(*(_upload(client, color) for color in pictures))
        order = {"images": images, "models": models.split(",")}
        headers = {"Idempotency-Key": new_nonce()}

        async def accepted() -> object:
            """What a careful client does: the same order again while nobody answers."""
            try:
                answer = await client.post("/jobs", json=order, headers=headers)
            except httpx.TransportError:
                return None
            assert answer.status_code == 202, answer.text
            return str(answer.json()["id"])

        yield Submission(fleet, pictures, str(await eventually(accepted, seconds=60)))


async def _upload(client: httpx.AsyncClient, color: tuple[int, int, int]) -> dict[str, str]:
    name = hexadecimal(color) + ".png"
    answer = await client.post(
        "/images", content=plain_picture(color), params={"filename": name},
        headers={"content-type": "image/png"},
    )  # fmt: skip
    assert answer.status_code == 201, answer.text
    return {"id": answer.json()["id"], "filename": name}


@dataclass
class Submission:
    """A job of plain pictures, whose right captions are their names."""

    fleet: Fleet
    pictures: list[tuple[int, int, int]]
    id: str

    async def job(self) -> dict[str, Any]:
        """The job, or {} while the api is away."""
        try:
            async with self.fleet.client() as client:
                answer = await client.get(f"/jobs/{self.id}")
                return answer.json() if answer.status_code == 200 else {}
        except httpx.TransportError:
            return {}

    async def captioned(self, at_least: int, seconds: float = 60) -> None:
        """Wait until that many captions are there."""

        async def enough() -> bool:
            return bool((await self.job()).get("counts", {}).get("captioned", 0) >= at_least)

        await eventually(enough, seconds=seconds, what=f"{at_least} captions")

    async def finished(self, seconds: float = 90) -> list[dict[str, Any]]:
        """Wait for the end of the job; all its tasks."""

        async def done() -> bool:
            return (await self.job()).get("state") == "completed"

        try:
            await eventually(done, seconds=seconds, what="the job completes")
        except AssertionError:
            print("".join(self.fleet.output[-60:]), await self.tasks())
            raise
        return await self.tasks()

    async def tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        async with self.fleet.client() as client:
            while cursor is not None:
                params = {"limit": "500", **({"cursor": cursor} if cursor else {})}
                page = (await client.get(f"/jobs/{self.id}/tasks", params=params)).json()
                found += page["items"]
                cursor = page["next"]
        return found


def assert_conserved(submission: Submission, tasks: list[dict[str, Any]]) -> None:
    """None lost, none doubled, none crossed: one right caption for each picture."""
    names = sorted(task["image"]["filename"] for task in tasks)
    assert names == sorted(hexadecimal(color) + ".png" for color in submission.pictures)
    wrong = [
        (task["image"]["filename"], task["state"], task.get("caption"), task.get("error"))
        for task in tasks
        if task["state"] != "captioned"
        or task["caption"]["text"] + ".png" != task["image"]["filename"]
    ]
    assert not wrong
