"""Settings of one worker, read from the environment and `.env`; flags of main() win over both."""

import re
import socket
from enum import StrEnum
from pathlib import Path

from pydantic import Field

from captionfleet.ids import new_nonce
from captionfleet.settings import FleetSettings


class WantedDevice(StrEnum):
    AUTO = "auto"
    CPU = "CPU"
    GPU = "GPU"


def default_worker_id() -> str:
    """The host's name and a nonce: two workers on one host never share an id."""
    host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-")[:60]
    return f"{host or 'worker'}-{new_nonce()}"


class WorkerSettings(FleetSettings):
    pool: str = Field(
        "default",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$",
        description="Pool this worker belongs to.",
    )
    worker: str = Field(
        default_factory=default_worker_id,
        pattern=r"^[A-Za-z0-9][-_A-Za-z0-9]{0,99}$",
        description="Id of this worker, unique in its fleet and safe as a folder's name.",
    )
    device: WantedDevice = Field(
        WantedDevice.AUTO,
        description="What engines compute on: CPU, GPU, or auto (a GPU if nvidia-smi shows one).",
    )
    custom_infer: Path | None = Field(
        None,
        description="Folder of CustomModel code. Default: custom_infer in the catalog's folder, "
        "else in the working directory.",
    )
    cache: Path | None = Field(
        None,
        description="Folder for downloaded models, for workers alone: what none of them uses is "
        "removed when room is short. Default: the cache that HF_HOME names, of which nothing is "
        "ever removed.",
    )
    cache_watermark: int = Field(
        90,
        ge=1,
        le=100,
        description="Percent of the disk below CAPTIONFLEET_CACHE, or of its limit, that downloads "
        "may fill.",
    )
    cache_limit: int = Field(
        0,
        ge=0,
        description="Most bytes that CAPTIONFLEET_CACHE may take; 0 means what the disk has.",
    )
    concurrent_downloads: int = Field(
        1,
        ge=1,
        description="Most models whose files are fetched at the same time. More share the same "
        "line, and may together fill a disk on which each of them has room. Beside them, two "
        "models that are here are looked up, and fetched where their branch has moved.",
    )
    download_stall_seconds: float = Field(
        60,
        gt=0,
        description="Seconds without a byte after which a download is cut and resumed.",
    )
    offline: bool = Field(
        False, description="Never ask a hub: models load from the cache or a folder, or not at all."
    )
    logs: Path | None = Field(
        None, description="Folder for the engines' logs. Default: logs/WORKER in the data folder."
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address that /metrics and the probes listen on; 0.0.0.0 lets other hosts in.",
    )
    metrics_port: int = Field(
        8001,
        ge=0,
        le=65535,
        description="Port of /metrics, /startupz, /livez and /readyz; 0 takes any free one.",
    )
    threads: int = Field(
        0, ge=0, le=4096, description="Threads per engine; 0 means every core the cgroup allows."
    )
    engine_env: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_, ]*$",
        description="Names of further environment variables that engines see, separated by commas. "
        "Without it they see only what libraries and drivers are known to need: no credentials.",
    )
    drain_seconds: float = Field(
        300, gt=0, description="Longest time, in seconds, for finishing work after SIGTERM."
    )
    drain_brokerless_seconds: float = Field(
        10,
        gt=0,
        description="Seconds that a draining worker waits for a broker that is gone before it "
        "ends: the broker gives its work to others.",
    )
    resume_seconds: float = Field(
        30,
        gt=0,
        description="Seconds after the start without an assignment until the last one kept on "
        "disk is resumed.",
    )

    @property
    def logs_folder(self) -> Path:
        return self.logs or self.data / "logs" / self.worker

    @property
    def engine_rooms(self) -> Path:
        """Folder for what engines need while they run."""
        return self.data / "engines" / self.worker

    @property
    def kept_assignment(self) -> Path:
        return self.data / "assignment.json"
