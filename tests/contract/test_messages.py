"""Messages: whatever a model or an error says can be sent."""

import pytest

from captionfleet.messages import (
    Copy,
    CopyState,
    Download,
    Outcome,
    ResultMessage,
    decode_heartbeat,
)
from captionfleet.messages.fleet import OperatorHeartbeat

UNSENDABLE = "no such file: caf\udce9\0.txt"


def test_text_that_is_no_utf_8_is_sent_all_the_same() -> None:
    result = ResultMessage(
        task="t", token="k", model="m", sha256="s", outcome=Outcome.FAILED, worker="w",
        error_message=UNSENDABLE,
    )  # fmt: skip
    back = ResultMessage.model_validate_json(result.encode())
    assert back.error_message == "no such file: caf?.txt"


def test_a_copy_that_failed_with_such_text_can_be_told() -> None:
    copy = Copy(model="m", state=CopyState.FAILED, fingerprint="f", message=UNSENDABLE)
    assert "caf?" in copy.encode().decode()


def test_an_operators_heartbeat_is_told_from_a_workers() -> None:
    beat = OperatorHeartbeat(operator="operator", incarnation="i", waiting={"m": "suspended"})
    assert decode_heartbeat(beat.encode()) == beat


@pytest.mark.parametrize(
    ("done", "total", "speed", "left", "told"),
    [
        (1_234_000_000, 3_400_000_000, 35e6, 62.4, "1.2 of 3.4 GB, 35 MB/s, about 62 s left"),
        (500_000, 3_300_000, None, None, "0.5 of 3.3 MB"),
        (250_000_000, 988_000_000, 1.24e6, 595, "250 of 988 MB, 1.2 MB/s, about 10 min left"),
        (10**9, 9 * 10**10, 3e5, 3e5, "1.0 of 90.0 GB, 0.3 MB/s, about 83.3 h left"),
        (5_000_000, 9_000_000, 0.0, None, "5.0 of 9.0 MB, 0 MB/s"),
        (9_000_000, 9_000_000, 1e6, 0.0, "9.0 of 9.0 MB, 1 MB/s"),
    ],
)
def test_a_download_is_told_in_sizes_that_people_read(
    done: int, total: int, speed: float | None, left: float | None, told: str
) -> None:
    download = Download(files_done=0, files_total=1, bytes_done=done, bytes_total=total,
                        bytes_per_second=speed, seconds_left=left)  # fmt: skip
    assert download.told() == told
    assert download.percent == 100 * done // total
