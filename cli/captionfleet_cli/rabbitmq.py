"""A private RabbitMQ: the installed rabbitmq-server on free ports with its own data folder.

It never touches the system service. `captionfleet up` and the tests start it; whoever starts it
supervises it.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SERVER_PLACES = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")


class BrokerUnavailable(Exception):
    """RabbitMQ is not installed, or did not start; the message says what to do."""


@dataclass(frozen=True)
class PrivateBroker:
    """A started server. It is ready once `url` takes connections; see wait_until_ready()."""

    process: subprocess.Popen[bytes]
    epmd: subprocess.Popen[bytes]
    folder: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        return _url(self.password, self.port)

    def wait_until_ready(self, seconds: float = 60) -> None:
        """Raises BrokerUnavailable, with the end of its log, if it ended or took too long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise BrokerUnavailable(f"RabbitMQ ended while starting.\n{self._log_tail()}")
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise BrokerUnavailable(
            f"RabbitMQ was not ready after {seconds:.0f} s.\n{self._log_tail()}"
        )

    def stop(self, seconds: float = 20) -> None:
        """SIGTERM, then SIGKILL after `seconds`."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the server's own process group, and to its name server."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.epmd.kill()
        self.process.wait()
        self.epmd.wait()

    def _log_tail(self) -> str:
        output = self.folder / "output.log"
        return "\n".join(output.read_text(errors="replace").splitlines()[-15:])


def start_private_broker(folder: Path, *, port: int | None = None) -> PrivateBroker:
    """Start rabbitmq-server in `folder` on loopback ports; the same folder keeps its messages.

    The password of the first start is kept in the folder; the ports are new each time.
    """
    server = find_server()
    folder = _own_folder(folder)
    password = _password(folder)
    with _free_ports(3) as free:
        amqp, epmd, distribution = port or free[0], free[1], free[2]
    _write_config(folder, amqp, password)
    environment = {
        **os.environ,
        **_own_places(folder),
        "RABBITMQ_NODE_PORT": str(amqp),
        "RABBITMQ_DIST_PORT": str(distribution),
        "ERL_EPMD_PORT": str(epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # Idle schedulers shall sleep, not spin: the broker shares two cores with the engines.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none "
        "-kernel inet_dist_use_interface {127,0,0,1}",
    }
    with (folder / "output.log").open("wb") as output:
        # Erlang's name server would outlive the broker as a daemon: run it as a child of ours.
        name_server = subprocess.Popen(
            [shutil.which("epmd") or "epmd", "-port", str(epmd), "-address", "127.0.0.1"],
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        process = subprocess.Popen(
            [server], env=environment, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    return PrivateBroker(process, name_server, folder, amqp, password)


def private_broker_url(folder: Path, port: int) -> str:
    """The address that the broker of this folder will have on this port, before it is started."""
    return _url(_password(_own_folder(folder)), port)


def find_server() -> str:
    for place in _SERVER_PLACES:
        if found := shutil.which(place):
            return found
    raise BrokerUnavailable(
        "RabbitMQ is not installed. Install it with `apt-get install rabbitmq-server`, "
        "or set RABBITMQ_URL to a broker you have."
    )


def _write_config(folder: Path, port: int, password: str) -> None:
    (folder / "enabled_plugins").write_text("[].\n")
    config = folder / "rabbitmq.conf"
    config.touch(mode=0o600)
    config.write_text(
        f"listeners.tcp.1 = 127.0.0.1:{port}\n"
        "default_user = captionfleet\n"
        f"default_pass = {password}\n"
        "log.console = false\n"
        "disk_free_limit.absolute = 500MB\n"
        "vm_memory_high_watermark.absolute = 1GB\n"
    )


def _own_places(folder: Path) -> dict[str, str]:
    """Variables that keep everything RabbitMQ reads and writes below `folder`."""
    # The node's name names its data, so it is kept; the ports may differ from start to start.
    node = _kept(folder / "node", lambda: f"captionfleet{secrets.token_hex(4)}@localhost")
    return {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": node,
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }


def _url(password: str, port: int) -> str:
    return f"amqp://captionfleet:{password}@127.0.0.1:{port}/"


def _own_folder(folder: Path) -> Path:
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _password(folder: Path) -> str:
    return _kept(folder / "password", lambda: secrets.token_urlsafe(24))


def _kept(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(make())
    return path.read_text()


@contextmanager
def _free_ports(count: int) -> Iterator[list[int]]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        yield [each.getsockname()[1] for each in sockets]
