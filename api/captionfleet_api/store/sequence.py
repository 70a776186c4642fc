"""The number of changes, raised inside the transaction that makes them.

The row stays locked until the commit, so numbers become visible in their order.
"""

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet_api.store.tables import Installation


async def next_changes(session: AsyncSession, n: int = 1) -> int:
    """Raise the number by n; return the last of the n new numbers."""
    raised = await session.execute(
        update(Installation)
        .values(changes=Installation.changes + n)
        .returning(Installation.changes)
        .execution_options(synchronize_session=False)
    )
    return raised.scalar_one()
