"""GPUs as nvidia-smi tells of them."""

import platform
from pathlib import Path

import pytest

from captionfleet_worker.device import GPU, Device, NoGPU, find_device, parse_gpu, processor
from captionfleet_worker.settings import WantedDevice

OUTPUT = "NVIDIA H200, 143771, 4021\nNVIDIA H200, 143771, 0\n"


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name which prints what the real one prints, and how it was called."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/called\nprintf '{OUTPUT}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path / "called"


def test_the_first_line_is_read() -> None:
    assert parse_gpu(OUTPUT) == GPU("NVIDIA H200", 143771 * 2**20, 4021 * 2**20)


@pytest.mark.parametrize("output", ["", "No devices were found\n", "A, [N/A], [N/A]\n"])
def test_anything_else_is_no_gpu(output: str) -> None:
    assert parse_gpu(output) is None


async def test_auto_takes_a_gpu_that_is_there(nvidia_smi: Path) -> None:
    assert await find_device(WantedDevice.AUTO) == Device("GPU", "NVIDIA H200")
    assert Device("GPU").torch_name == "cuda:0"


async def test_the_tool_is_told_no_secrets(
    nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    (nvidia_smi.parent / "nvidia-smi").write_text(f"#!/bin/sh\nenv > {nvidia_smi}\n")
    await find_device(WantedDevice.AUTO)
    assert "PATH=" in nvidia_smi.read_text() and "HF_TOKEN" not in nvidia_smi.read_text()


async def test_the_visible_gpu_is_asked_for(
    nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    await find_device(WantedDevice.GPU)
    assert "--id=3" in nvidia_smi.read_text()


async def test_a_hidden_gpu_is_not_taken(nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert await find_device(WantedDevice.AUTO) == Device("CPU")
    with pytest.raises(NoGPU):
        await find_device(WantedDevice.GPU)


def test_a_processor_is_named_by_its_model_or_else_by_its_kind(tmp_path: Path) -> None:
    described = tmp_path / "cpuinfo"
    assert processor(described) == platform.machine()
    described.write_text("model\t\t: 1\nmodel name\t: AMD EPYC 7763\nmodel name\t: AMD EPYC 7763\n")
    assert processor(described) == "AMD EPYC 7763"


async def test_a_cpu_is_taken_when_asked_for(nvidia_smi: Path) -> None:
    assert await find_device(WantedDevice.CPU) == Device("CPU")
    assert not nvidia_smi.exists()
