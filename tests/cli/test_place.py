"""One data folder serves one installation, and keeps its token and its name."""

import socket
from pathlib import Path

import pytest

from captionfleet_cli.trouble import Exit, Trouble
from captionfleet_cli.up.place import check_port, fleet_name, kept_token, locked, write_address


def test_the_data_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    with locked(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "data" / ".gitignore").read_text() == "*\n"


def test_a_second_up_on_the_same_data_is_refused_with_its_address(tmp_path: Path) -> None:
    with locked(tmp_path):
        write_address(tmp_path, "http://127.0.0.1:8123/")
        with (
            pytest.raises(Trouble, match=r"127\.0\.0\.1:8123.*--data DIR") as caught,
            locked(tmp_path),
        ):
            pass
    assert caught.value.code is Exit.USAGE
    with locked(tmp_path):  # free again
        pass


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Trouble, match="--data DIR"), locked(tmp_path / "file" / "data"):
        pass


def test_a_busy_port_is_told_with_the_remedy() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(Trouble, match=f"port {port}.*--port"):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", port)


def test_the_token_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    token = kept_token(tmp_path)
    assert len(token) >= 32
    assert kept_token(tmp_path) == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_on_a_broker_of_our_own_the_plain_name_will_do(tmp_path: Path) -> None:
    assert fleet_name(None, tmp_path, private_broker=True) == "captionfleet"


def test_on_a_shared_broker_each_data_folder_has_a_name_of_its_own(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    one, two = (fleet_name(None, tmp_path / f, private_broker=False) for f in ("one", "two"))
    assert one != two
    assert fleet_name(None, tmp_path / "one", private_broker=False) == one


def test_a_chosen_name_wins(tmp_path: Path) -> None:
    assert fleet_name("mine", tmp_path, private_broker=False) == "mine"
