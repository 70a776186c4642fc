"""What this worker may use of its machine, and what it and its engines take of it."""

import time
from collections.abc import Sequence

from captionfleet_worker.cgroup import memory_total, memory_used, read_cgroup
from captionfleet_worker.device import Device, read_gpu
from captionfleet_worker.metrics import Meters, Usage

_GPU_PERIOD_SECONDS = 10.0


class Machine:
    """Measurements, as new as the last measure()."""

    def __init__(self, device: Device, meters: Meters) -> None:
        self._device = device
        self._usage = Usage(meters)
        self._gpu_read_at = float("-inf")
        self.memory_total = 0
        """Bytes that copies may use: of the GPU on a GPU worker, else of the cgroup or host."""
        self.memory_used = 0

    def free_bytes(self) -> int | None:
        """Of that memory, what nobody uses; None before the first measurement."""
        return self.memory_total - self.memory_used if self.memory_total else None

    async def measure(self, engines: Sequence[int]) -> None:
        """Memory for the next heartbeat, processor and memory for /metrics."""
        cgroup = read_cgroup()
        now = time.monotonic()
        self._usage.sample(engines, memory_total(cgroup), now)
        if self._device.kind == "CPU":
            self.memory_total, self.memory_used = memory_total(cgroup), memory_used(cgroup)
        elif now - self._gpu_read_at >= _GPU_PERIOD_SECONDS:
            self._gpu_read_at = now
            if gpu := await read_gpu():
                self.memory_total, self.memory_used = gpu.memory_total, gpu.memory_used
