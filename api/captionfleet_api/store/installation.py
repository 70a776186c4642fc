"""Who this database is: one row with an id that lasts as long as the database."""

from sqlalchemy import select

from captionfleet.ids import new_id
from captionfleet_api.store.engine import Database
from captionfleet_api.store.tables import Installation


async def installation_id(database: Database) -> str:
    """The id of this installation, made on first use."""
    async with database.write() as session:
        known = (await session.execute(select(Installation.id))).scalar_one_or_none()
        if known is None:
            known = new_id()
            session.add(Installation(id=known))
        return known
