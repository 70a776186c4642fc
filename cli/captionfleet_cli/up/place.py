"""The place where one installation lives: its data folder, lock, token, fleet name and port."""

import fcntl
import json
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from captionfleet_cli.trouble import Exit, Trouble

_DEFAULT_FLEET = "captionfleet"


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Make the data folder, for its owner alone, and hold it while the block runs."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        data.chmod(0o700)
        (data / ".gitignore").write_text("*\n")  # it holds passwords and pictures
        lock = (data / "lock").open("a+")
    except OSError as error:
        raise Trouble(
            f"the data folder {data} cannot be used: {error.strerror}. "
            "Choose another with --data DIR.",
            Exit.USAGE,
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble(
                f"captionfleet up already runs on {data}{_where(data)}. "
                "Use that one, stop it first, or choose another folder with --data DIR.",
                Exit.USAGE,
            ) from None
        yield


def write_address(data: Path, url: str) -> None:
    """Leave a note for a second `up` on the same data."""
    (data / "up.json").write_text(json.dumps({"url": url}))


def kept_token(data: Path) -> str:
    """The installation's own token, made once."""
    return _kept(data / "token", lambda: secrets.token_urlsafe(24))


def fleet_name(chosen: str | None, data: Path, *, private_broker: bool) -> str:
    """`chosen` wins. A private broker is nobody else's, so there the plain name will do; on a
    broker that others may use the name must be our own, and is kept in the data folder.
    """
    if chosen or private_broker:
        return chosen or _DEFAULT_FLEET
    return _kept(data / "fleet", lambda: f"{_DEFAULT_FLEET}-{secrets.token_hex(3)}")


def check_port(host: str, port: int) -> None:
    """Raises Trouble if somebody listens there, or `host` is no address of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Trouble(
                f"cannot listen on {host} port {port}: {error.strerror}. "
                "Stop the program that does, or choose another port with --port (0 = any free).",
                Exit.USAGE,
            ) from None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _kept(file: Path, make: Callable[[], str]) -> str:
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(make())
    return file.read_text().strip()


def _where(data: Path) -> str:
    try:
        return f" ({json.loads((data / 'up.json').read_text())['url']})"
    except (OSError, ValueError, KeyError):
        return ""
