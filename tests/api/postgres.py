"""A private PostgreSQL for tests: its own folder, port and life. It ends with this process."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from captionfleet_api.store.engine import open_database
from captionfleet_api.store.migrate import migrate
from captionfleet_api.store.tables import Base

# As far from "C" as locales get: whatever rests on the order of bytes breaks here.
LOCALE = ["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"]
CARELESS = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200"]


@dataclass
class Postgres:
    port: int
    made: int = 0
    clean: list[str] = field(default_factory=list)
    """Databases with our tables and nothing in them: making tables anew for each test is slow."""

    def url(self, database: str) -> str:
        """As SQLAlchemy takes it."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        address = f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement.encode())

    def empty_database(self) -> str:
        """The address of a new one without tables."""
        self.made += 1
        self.execute(f"CREATE DATABASE test{self.made}")
        return self.url(f"test{self.made}")

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The address of one that was migrated and holds nothing."""
        url = self.clean.pop() if self.clean else await self._migrated()
        yield url
        tables = ", ".join(f'"{name}"' for name in Base.metadata.tables)
        statement = f"SET lock_timeout = '10s'; TRUNCATE {tables}"
        self.execute(statement, url.rpartition("/")[2])
        self.clean.append(url)

    async def _migrated(self) -> str:
        url = self.empty_database()
        database = open_database(url)
        await migrate(database)
        await database.close()
        return url


@contextmanager
def private_postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="captionfleet-postgres-"))
    account = _account(folder)
    programs = _programs()
    try:
        data = str(folder / "data")
        initdb = [str(programs / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", *LOCALE]
        subprocess.run([*account, *initdb, "--no-sync"], check=True, capture_output=True)
        postgres = Postgres(_free_port())
        settings = [f"-c{each}" for each in (*CARELESS, f"unix_socket_directories={folder}")]
        # SIGQUIT is an immediate shutdown.
        command = ["setpriv", "--pdeathsig=QUIT", *account[1:], str(programs / "postgres")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [*command, "-D", data, "-p", str(postgres.port), *settings], stderr=log
            )
        try:
            _wait_until_it_answers(postgres, server)
            yield postgres
        finally:
            server.send_signal(signal.SIGINT)  # a fast shutdown: clients are sent away
            server.wait(30)
    finally:
        shutil.rmtree(folder)


def _account(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root: it runs as the user that its package made."""
    if os.getuid() != 0:
        return ["setpriv"]
    shutil.chown(folder, "postgres", "postgres")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]


def _programs() -> Path:
    """Debian keeps them apart by version, out of PATH."""
    if debian := sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return debian[-1].parent
    found = shutil.which("initdb")
    assert found, "PostgreSQL is missing: run scripts/install"
    return Path(found).parent


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_until_it_answers(postgres: Postgres, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert server.poll() is None, "PostgreSQL ended while starting"
        try:
            return postgres.execute("SELECT 1")
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)
