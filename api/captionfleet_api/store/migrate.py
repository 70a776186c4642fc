"""Brings a database to the newest schema. The steps are in migrations/versions."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from captionfleet_api.store.engine import Database

_MIGRATIONS = Path(__file__).parent / "migrations"


async def migrate(database: Database) -> None:
    """In one write transaction, so that of two apis starting at once one waits for the other."""
    async with database.write() as session:
        await (await session.connection()).run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    command.upgrade(migration_config(connection), "head")


def migration_config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
