"""A worker as a process of its own, with nothing shared but the broker's address."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psutil

from captionfleet.broker.names import Names

# A custom model that captions a plain picture by its color, once the file `go` is there; it
# aborts on red.
PATIENT = """
import os, time
from pathlib import Path
from captionfleet import CustomModel


class Patient(CustomModel):
    def load(self):
        self.folder = Path(__file__).parent

    def infer(self, image):
        (self.folder / "begun").touch()
        while not (self.folder / "go").exists():
            time.sleep(0.01)
        color = "#%02x%02x%02x" % image.getpixel((1, 1))
        if color == "#ff0000":
            os.abort()
        return color
"""
PATIENT_SPEC = {
    "custom": {"entrypoint": "patient:Patient"},
    "batching": {"maxBatchSize": 4},
    "acceptance": {"smokeTest": False},
}


@dataclass
class WorkerProcess:
    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def code(self) -> Path:
        """Its custom_infer folder."""
        return self.folder / "custom_infer"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def engines(self) -> list[psutil.Process]:
        """Its children, and those of its fork-server."""
        engines: list[psutil.Process] = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                engines += child.children() if _forks(child) else [child]
        return engines

    @property
    def fork_server(self) -> psutil.Process | None:
        children = psutil.Process(self.process.pid).children()
        return next((child for child in children if _forks(child)), None)

    @property
    def ended(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.poll()

    def go(self) -> None:
        """Let the patient model caption."""
        (self.code / "go").touch()

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    @property
    def metrics_url(self) -> str | None:
        found = re.search(r"http://[\d.]+:\d+/metrics", self.log)
        return found.group() if found else None


def _forks(child: psutil.Process) -> bool:
    return any("forkserver" in part for part in child.cmdline())


@contextmanager
def worker_process(
    url: str,
    names: Names,
    folder: Path,
    *,
    pass_fds: tuple[int, ...] = (),
    prefix: tuple[str, ...] = (),
    cwd: Path | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
    **settings: str,
) -> Iterator[WorkerProcess]:
    """Run one in its own directory, HOME and cache. Killed at the end, with its engines.

    `prefix`: a program, with arguments, that runs it. `settings` without their CAPTIONFLEET_.
    """
    code = folder / "custom_infer"
    code.mkdir(parents=True)
    (code / "patient.py").write_text(PATIENT)
    seen = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "RABBITMQ_URL": url,
        "CAPTIONFLEET_FLEET": names.fleet, "CAPTIONFLEET_POOL": "p", "CAPTIONFLEET_WORKER": "w1",
        "CAPTIONFLEET_METRICS_PORT": "0", "CAPTIONFLEET_DEVICE": "CPU",
        "CAPTIONFLEET_THREADS": "1",
    } | {f"CAPTIONFLEET_{name.upper()}": value for name, value in settings.items()}  # fmt: skip
    command = [*prefix, sys.executable, "-m", "captionfleet_worker"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=cwd or folder, env=seen | dict(environment), stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True, pass_fds=pass_fds,
        )  # fmt: skip
    worker = WorkerProcess(process, folder)
    try:
        yield worker
    finally:
        engines = worker.engines if process.poll() is None else []
        process.kill()
        process.wait()
        psutil.wait_procs(engines, timeout=20)
