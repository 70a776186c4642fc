"""Messages: whatever a model or an error says can be sent."""

from captionfleet.messages import Copy, CopyState, Outcome, ResultMessage, decode_heartbeat
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
