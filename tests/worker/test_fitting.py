"""What cannot fit is refused before an engine is started."""

from pathlib import Path

import pytest

from captionfleet_worker.engine_process import LoadFailed
from captionfleet_worker.fitting import check_fits


def test_weights_larger_than_what_is_free_are_never_tried(tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(14 * 10**9)
    with pytest.raises(LoadFailed, match=r"weights alone take 14.0 GB, and 9.0 GB are free") as why:
        check_fits("big", tmp_path, 9 * 10**9)
    assert (why.value.reason, why.value.retriable) == ("InsufficientMemory", True)


def test_what_fits_or_is_not_known_is_tried(tmp_path: Path) -> None:
    check_fits("code alone", None, 1)
    check_fits("no weights", tmp_path, 1)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    check_fits("small", tmp_path, 7)
    check_fits("not measured", tmp_path, None)
