"""Every failure ends in words and an exit code, never in a traceback."""

import socket
import sys
from pathlib import Path

import pytest

from captionfleet_cli import rabbitmq
from captionfleet_cli.main import main
from captionfleet_cli.server import find_server
from captionfleet_cli.trouble import Trouble


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["captionfleet", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_server_that_does_not_answer_is_exit_code_3(
    nobody: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "get", "models", "--server", nobody) == 3
    told = capsys.readouterr().err
    assert "captionfleet up FOLDER" in told and "--server" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("get", "podels"), "models, pools, workers, jobs"),
        (("get",), "Missing argument"),
        (("submit", "/nowhere", "--models", "a"), "no file or folder /nowhere"),
        (("apply", "-f", "/nowhere.yaml"), "no file /nowhere.yaml"),
        (("get", "models", "--server", "localhost"), "http://HOST:PORT"),
        (("up", "/nowhere"), "/nowhere is no folder"),
        (("delete", "worker", "cpu-1"), "their pool decides"),
        (("add", "not a repo"), "spec.source.huggingFace.repo"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what_is_right(
    arguments: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run(monkeypatch, *arguments) == 2
    assert told in capsys.readouterr().err


def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CAPTIONFLEET_FLEET", "Not A Name")
    assert run(monkeypatch, "get", "models") == 2
    assert "CAPTIONFLEET_FLEET" in capsys.readouterr().err


def test_without_rabbitmq_up_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RABBITMQ_URL", raising=False)
    monkeypatch.setattr(rabbitmq, "_SERVER_PLACES", ("no-such-server",))
    assert run(monkeypatch, "up", str(tmp_path), "--port", "0") == 1
    told = capsys.readouterr().err
    assert "apt-get install rabbitmq-server" in told and "RABBITMQ_URL" in told


def test_a_pasted_address_may_carry_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAPTIONFLEET_TOKEN", raising=False)
    server = find_server("http://fleet.example:8000/?token=secret")
    assert (server.url, server.token) == ("http://fleet.example:8000", "secret")


def test_an_address_without_scheme_is_refused() -> None:
    with pytest.raises(Trouble, match="write it as"):
        find_server("fleet.example:8000")
