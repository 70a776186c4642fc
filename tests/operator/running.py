"""A real operator process on a folder of its own, and the fleet it talks to, for service tests."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from captionfleet.broker.link import Delivery, Link, NotConfirmed, Session, Unroutable
from captionfleet.broker.names import Names
from captionfleet.catalog import FolderCatalog
from captionfleet.ids import new_nonce
from captionfleet.messages import (
    Demand,
    Heartbeat,
    ModelDemand,
    OperatorHeartbeat,
    decode_heartbeat,
)
from captionfleet.resources import API_VERSION, ModelStatus, PoolStatus
from captionfleet_operator.local.process import LAUNCH_FLAG
from captionfleet_operator.local.record import WorkersFile

FAKES = Path(__file__).parent / "fake_worker"


@dataclass
class Ear:
    """What the fleet says, as any listener on the broker hears it."""

    names: Names
    beats: dict[str, Heartbeat] = field(default_factory=dict)
    operator: OperatorHeartbeat | None = None

    async def setup(self, session: Session) -> None:
        queue = self.names.listen_queue(self.names.heartbeats, "test", new_nonce())
        await session.listen(self.names.heartbeats, queue, "", self._hear)

    async def _hear(self, delivery: Delivery) -> None:
        beat = decode_heartbeat(delivery.body)
        if isinstance(beat, OperatorHeartbeat):
            self.operator = beat
        elif beat.gone:
            self.beats.pop(beat.worker, None)
        else:
            self.beats[beat.worker] = beat

    def ready_on(self, worker: str) -> list[str]:
        beat = self.beats.get(worker)
        return [copy.model for copy in beat.copies] if beat else []

    def waiting(self, model: str) -> str:
        return self.operator.waiting.get(model, "") if self.operator else ""

    def pool(self, pool: str = "cpu") -> str:
        return self.operator.pools.get(pool, "") if self.operator else ""


@dataclass
class RunningOperator:
    """Starts, ends and kills the operator of one fleet; `ear` and `link` are the test's own."""

    folder: Path
    url: str
    names: Names
    ear: Ear
    link: Link
    real_workers: bool = False
    process: subprocess.Popen[bytes] | None = None
    sessions: set[int] = field(default_factory=set)
    """One per operator that was started here; its workers are in it, and outlive it there."""
    wanted: dict[str, int] = field(default_factory=dict)
    """Model -> tasks that wait, told to the fleet all the time."""
    strays: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def write(self, name: str, kind: str, spec: dict[str, Any]) -> None:
        manifest = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}}
        file = self.folder / "catalog" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump({**manifest, "spec": spec}))

    def model(self, name: str, *, prove: str = "OnFirstUse", **spec: Any) -> None:
        source = {"huggingFace": {"repo": f"test/{name}"}}
        self.write(name, "CaptionModel", {"source": source, "acceptance": {"prove": prove}, **spec})

    def pool(self, name: str = "cpu", **spec: Any) -> None:
        self.write(name, "CaptionWorkerPool", {"device": {"type": "CPU"}, **spec})

    def environment(self, **more: str) -> dict[str, str]:
        fakes = {} if self.real_workers else {"PYTHONPATH": str(FAKES)}
        return {
            **os.environ, **fakes, "RABBITMQ_URL": self.url,
            "CAPTIONFLEET_FLEET": self.names.fleet,
            "CAPTIONFLEET_CATALOG": str(self.folder / "catalog"),
            "CAPTIONFLEET_DATA": str(self.data),
            "CAPTIONFLEET_LISTENING_SECONDS": "1.5",
            **more,
        }  # fmt: skip

    def start(self, *, pass_fds: tuple[int, ...] = (), **more: str) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        with (self.data / "operator.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "captionfleet_operator"],
                env=self.environment(**more), stdout=log, stderr=log, cwd=self.folder,
                pass_fds=pass_fds, start_new_session=True,
            )  # fmt: skip
        self.sessions.add(self.process.pid)

    def join_from_outside(self, worker: str, pool: str = "cpu") -> None:
        """A worker that somebody else started."""
        environment = self.environment(CAPTIONFLEET_WORKER=worker, CAPTIONFLEET_POOL=pool)
        self.strays.append(
            subprocess.Popen([sys.executable, "-m", "captionfleet_worker"], env=environment)
        )

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    @property
    def pids(self) -> dict[str, int]:
        """Recorded workers that have a pid."""
        records = WorkersFile(self.data).read()
        return {worker: record.pid for worker, record in records.items() if record.pid}

    def processes(self) -> list[int]:
        """Every live worker process of this fleet that an operator started, recorded or not."""
        return [
            process.pid
            for process in psutil.process_iter()
            if _is_worker_of(self.sessions, process)
        ]

    async def demand_for_ever(self) -> None:
        """Send `wanted` again and again, as an api does."""
        while True:
            models = {name: ModelDemand(pending=total) for name, total in self.wanted.items()}
            demand = Demand(backend="test", models=models)
            with contextlib.suppress(Unroutable, NotConfirmed):
                await self.link.publish(self.names.demand, "", demand.encode(), persistent=False)
            await asyncio.sleep(0.2)

    def model_status(self, name: str) -> ModelStatus | None:
        return self._catalog().models()[name].status

    def pool_status(self, name: str = "cpu") -> PoolStatus | None:
        return self._catalog().pools()[name].status

    def _catalog(self) -> FolderCatalog:
        return FolderCatalog(self.folder / "catalog", self.data)

    def clean_up(self) -> None:
        if self.process and self.process.poll() is None:
            self.kill()
        for stray in self.strays:
            stray.kill()
            stray.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)


def _is_worker_of(sessions: set[int], process: psutil.Process) -> bool:
    """By what everybody may see: a real worker lets nobody but root read its environment."""
    try:
        return (
            os.getsid(process.pid) in sessions
            and process.status() != psutil.STATUS_ZOMBIE
            and {"captionfleet_worker", LAUNCH_FLAG} <= set(process.cmdline())
        )
    except (psutil.Error, OSError):
        return False
