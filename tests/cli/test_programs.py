"""What each program of an installation is told, and what it is not."""

from dataclasses import replace
from pathlib import Path

from captionfleet_cli.up.programs import Installation

HERE = Installation(
    folder=Path("/models"), data=Path("/data"), fleet="captionfleet",
    broker_url="amqp://captionfleet:broker-secret@127.0.0.1:5/", private_broker=True,
    broker_port=5, host="127.0.0.1", port=8000, token="rest-secret", no_auth=False, demo=True,
    drain_seconds=1,
)  # fmt: skip


def test_only_the_api_knows_the_token() -> None:
    environment = {"PATH": "/bin", "CAPTIONFLEET_TOKEN": "rest-secret"}
    assert HERE.api(environment).environment["CAPTIONFLEET_TOKEN"] == "rest-secret"
    assert "rest-secret" not in HERE.operator(environment).environment.values()
    assert "rest-secret" not in HERE.guard(environment).environment.values()


def test_secrets_are_not_shown_by_accident() -> None:
    shown = f"{HERE} {HERE.api({})}"
    assert "rest-secret" not in shown
    assert "broker-secret" not in shown


def test_the_printed_address_carries_the_token_once() -> None:
    assert HERE.printed_url == "http://127.0.0.1:8000/?token=rest-secret"
    assert replace(HERE, token=None).printed_url == "http://127.0.0.1:8000/"


def test_an_address_for_everybody_is_opened_here_by_loopback() -> None:
    assert replace(HERE, host="0.0.0.0", token=None).printed_url == "http://127.0.0.1:8000/"
    assert replace(HERE, host="::", token=None).printed_url == "http://[::1]:8000/"
    assert replace(HERE, host="::1", token=None).printed_url == "http://[::1]:8000/"


def test_api_and_operator_share_broker_fleet_folder_and_data() -> None:
    names = ("RABBITMQ_URL", "CAPTIONFLEET_FLEET", "CAPTIONFLEET_CATALOG", "CAPTIONFLEET_DATA")
    api, operator = HERE.api({}).environment, HERE.operator({}).environment
    assert [api[name] for name in names] == [operator[name] for name in names]
