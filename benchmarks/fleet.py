"""Starts `captionfleet up` for a benchmark, quietly, and finds its processes."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil


@dataclass(frozen=True)
class RunningFleet:
    """A started fleet: its address, data folder and `up` process."""

    url: str
    data: Path
    up: psutil.Process

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"{self.url}api/v1", timeout=600)

    def processes(self, module: str) -> list[psutil.Process]:
        """Processes of this fleet that run `python -m MODULE`."""
        own, found = str(self.data), []
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it ended, or is another user's
                runs_it = module in " ".join(process.cmdline())
                if runs_it and own in _data_folder(process):
                    found.append(process)
        return found


def _data_folder(process: psutil.Process | None) -> str:
    try:
        return process.environ().get("CAPTIONFLEET_DATA", "") if process else ""
    except psutil.AccessDenied:  # a worker lets nobody but root look; its operator can be seen
        assert process
        return _data_folder(process.parent())


@contextmanager
def running_fleet(
    folder: Path, manifests: str, *, broker: str | None = None, code: str | None = None
) -> Iterator[RunningFleet]:
    """`captionfleet up` on a new folder, with its own RabbitMQ unless there is a `broker`.

    `code` becomes custom_infer/noop.py.
    """
    (folder / "custom_infer").mkdir(parents=True)
    (folder / "fleet.yaml").write_text(manifests)
    if code:
        (folder / "custom_infer" / "noop.py").write_text(code)
    environment = os.environ | ({"RABBITMQ_URL": broker} if broker else {})
    process = subprocess.Popen(
        [sys.executable, "-m", "captionfleet_cli", "up", str(folder), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    try:
        assert process.stdout
        line = process.stdout.readline()
        if not line.startswith("ready "):
            raise RuntimeError("captionfleet did not start")
        yield RunningFleet(
            line.split()[1], folder.resolve() / ".captionfleet", psutil.Process(process.pid)
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


async def wait_until_loaded(client: httpx.AsyncClient, models: set[str]) -> None:
    """Wait until every model has a ready copy."""
    while True:
        workers = (await client.get("/workers")).json()["items"]
        ready = {c["model"] for w in workers for c in w["copies"] if c["state"] == "ready"}
        if models <= ready:
            return
        await asyncio.sleep(0.5)


async def upload(client: httpx.AsyncClient, pictures: Path) -> list[dict[str, str]]:
    """Upload every file of a folder; what a job needs to name them."""
    images = []
    for file in sorted(pictures.iterdir()):
        answer = await client.post(
            "/images", content=file.read_bytes(), params={"filename": file.name}
        )
        answer.raise_for_status()
        images.append({"id": answer.json()["id"], "filename": file.name})
    return images
