"""What cannot fit is refused before an engine is started."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import eventually
from tests.weight_files import write_safetensors
from tests.worker.engines import order_for
from tests.worker.stand_ins import Workshop, wanted

from captionfleet.messages import CopyState
from captionfleet_worker.engine_process import EngineOrder, LoadFailed
from captionfleet_worker.fitting import check_fits
from captionfleet_worker.live_copy import LiveCopy, Workplace

GB = 10**9


def order(folder: Path, **more: Any) -> EngineOrder:
    """Of a model that lies in this folder."""
    return order_for({"source": {"volume": {"path": str(folder)}}, **more}, folder)


def test_weights_larger_than_what_is_free_are_never_tried(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", a=("F32", 14 * GB))
    with pytest.raises(LoadFailed, match=r"weights alone take 14.0 GB, and 9.0 GB are free") as why:
        check_fits(order(tmp_path), 9 * GB)
    assert (why.value.reason, why.value.retriable) == ("InsufficientMemory", True)
    fetched = replace(order(tmp_path), files=tmp_path)
    with pytest.raises(LoadFailed, match=r"14\.0 GB"):
        check_fits(fetched, 9 * GB)


def test_own_code_loads_in_its_own_way_whatever_lies_in_its_folder(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", a=("F32", 14 * GB))
    check_fits(order(tmp_path, custom={"entrypoint": "a:A"}), 9 * GB)


def test_half_precision_counts_as_what_it_becomes(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", a=("BF16", 3 * GB))
    with pytest.raises(LoadFailed, match=r"take 6\.0 GB when loaded \(3\.0 GB on the disk\)"):
        check_fits(order(tmp_path), 5 * GB)
    with pytest.raises(LoadFailed, match=r"6\.0 GB"):
        check_fits(order(tmp_path, loader={"quantization": "int8"}), 5 * GB)
    check_fits(order(tmp_path, loader={"dtype": "bfloat16"}), 5 * GB)
    check_fits(replace(order(tmp_path), device="cuda:0"), 5 * GB)


def test_what_fits_or_is_not_known_is_tried(tmp_path: Path) -> None:
    check_fits(order_for({"custom": {"entrypoint": "a:A"}}, tmp_path), 1)
    check_fits(order(tmp_path), 1)
    write_safetensors(tmp_path / "model.safetensors", a=("F32", 1000))
    check_fits(order(tmp_path), 1000)
    check_fits(order(tmp_path), None)


async def test_a_copy_that_cannot_fit_orders_no_engine_and_says_why(
    place: Workplace, workshop: Workshop, tmp_path: Path
) -> None:
    async def free() -> int:
        return 5 * GB

    write_safetensors(tmp_path / "model.safetensors", a=("BF16", 3 * GB))
    spec = {"source": {"volume": {"path": str(tmp_path)}}}
    copy = LiveCopy("large", wanted(spec), None, replace(place, free_bytes=free))
    await eventually(lambda: copy.state == CopyState.FAILED)
    assert workshop.orders == []
    view = copy.view()
    assert view.reason == "InsufficientMemory" and view.retry_in_seconds
    assert "large was not tried" in str(view.message) and "5.0 GB are free" in str(view.message)
    await copy.unload()
