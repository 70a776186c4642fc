"""What this worker may use of its machine, and what it and all it started take of it."""

import time

from captionfleet_worker.cgroup import Cgroup, memory_total, memory_used, read_cgroup
from captionfleet_worker.device import Device, read_gpu
from captionfleet_worker.metrics import Meters, Usage

_GPU_PERIOD_SECONDS = 10.0
_PERIOD_SECONDS = 2.0
"""A busy worker tells more often than that how it is, and to read what its processes take costs
up to 10 ms each."""


class Machine:
    """Measurements, as new as the last measure()."""

    def __init__(self, device: Device, meters: Meters) -> None:
        self._device = device
        self._usage = Usage(meters)
        self._gpu_read_at = float("-inf")
        self._measured_at = float("-inf")
        self.memory_total = 0
        """Bytes that copies may use: of the GPU on a GPU worker, else of the cgroup or host."""
        self.memory_used = 0

    async def free_bytes(self) -> int | None:
        """Of that memory, what nobody uses at this moment: an engine may have just ended. None if
        nothing tells."""
        await self._measure_memory(read_cgroup())
        return self.memory_total - self.memory_used if self.memory_total else None

    async def measure(self) -> None:
        """Memory for the next heartbeats, processor and memory for /metrics; every 2 s at most."""
        now = time.monotonic()
        if now - self._measured_at < _PERIOD_SECONDS:
            return
        self._measured_at = now
        cgroup = read_cgroup()
        self._usage.sample(memory_total(cgroup), now)
        if self._device.kind == "CPU" or now - self._gpu_read_at >= _GPU_PERIOD_SECONDS:
            await self._measure_memory(cgroup)

    async def _measure_memory(self, cgroup: Cgroup) -> None:
        if self._device.kind == "CPU":
            self.memory_total, self.memory_used = memory_total(cgroup), memory_used(cgroup)
            return
        self._gpu_read_at = time.monotonic()
        if gpu := await read_gpu():
            self.memory_total, self.memory_used = gpu.memory_total, gpu.memory_used
