"""How much memory is left, told when it matters."""

from pathlib import Path

import pytest

from captionfleet_worker.device import Device
from captionfleet_worker.machine import Machine
from captionfleet_worker.metrics import Meters


def shows(folder: Path, used: int) -> None:
    """A driver's tool that shows a GPU of 1000 MiB."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho 'Toy GPU, 1000, {used}'\n")
    tool.chmod(0o755)


async def test_memory_that_an_engine_just_left_is_free_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine = Machine(Device("GPU", "Toy GPU"), Meters())
    shows(tmp_path, used=900)
    await machine.measure()
    shows(tmp_path, used=100)
    assert await machine.free_bytes() == 900 * 2**20


async def test_on_a_processor_something_is_free() -> None:
    free = await Machine(Device("CPU"), Meters()).free_bytes()
    assert free and free > 0
