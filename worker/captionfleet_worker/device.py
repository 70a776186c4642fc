"""What engines compute on: the main processor, or a GPU as nvidia-smi describes it.

The agent never imports torch; the driver's own tool tells it enough.
"""

import asyncio
import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from captionfleet_worker.settings import WantedDevice

_QUERY = "--query-gpu=name,memory.total,memory.used"
_ITS_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD")
"""Not the agent's secrets: engines may read the environment of any program of their user."""


class NoGPU(Exception):
    """A GPU was asked for and is not there; the message says what was tried."""


@dataclass(frozen=True)
class GPU:
    """One GPU; bytes."""

    name: str
    memory_total: int
    memory_used: int


@dataclass(frozen=True)
class Device:
    kind: str
    """CPU or GPU, as in messages and manifests."""
    name: str = ""

    @property
    def torch_name(self) -> str:
        return "cuda:0" if self.kind == "GPU" else "cpu"


def processor(described: Path = Path("/proc/cpuinfo")) -> str:
    """The main processor's model, or at least its kind."""
    try:
        found = re.search(r"^model name\s*: (.+)$", described.read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()


async def find_device(wanted: WantedDevice) -> Device:
    """Raises NoGPU if a GPU is wanted and there is none."""
    if wanted == WantedDevice.CPU:
        return Device("CPU")
    gpu = await read_gpu()
    if gpu:
        return Device("GPU", gpu.name)
    if wanted == WantedDevice.GPU:
        raise NoGPU(
            "CAPTIONFLEET_DEVICE is GPU, but nvidia-smi is missing or shows no GPU: install the "
            "NVIDIA driver, make the GPU visible to this process, or set CAPTIONFLEET_DEVICE=CPU"
        )
    return Device("CPU")


async def read_gpu() -> GPU | None:
    """The first GPU that this process may see, or None."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and not visible.strip():
        return None
    choice = [f"--id={visible.split(',')[0].strip()}"] if visible else []
    process = await asyncio.create_subprocess_exec(
        program, *choice, _QUERY, "--format=csv,noheader,nounits",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _ITS_VARIABLES if name in os.environ},
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 20)
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    return parse_gpu(output.decode(errors="replace")) if process.returncode == 0 else None


def parse_gpu(output: str) -> GPU | None:
    """The first line of `name, total MiB, used MiB`; None if it is none."""
    fields = output.partition("\n")[0].rsplit(",", 2)
    try:
        name, total, used = (field.strip() for field in fields)
        return GPU(name, int(total) * 2**20, int(used) * 2**20)
    except ValueError:
        return None
