"""Keeps the queues on the broker in step with the models of the catalog."""

import asyncio
from collections.abc import Iterable

import structlog

from captionfleet.broker.link import CONNECTION_TROUBLE, Session
from captionfleet.broker.names import Names
from captionfleet.broker.topology import declare_model_queues, delete_model_queues
from captionfleet_operator.queue_record import Record, read_record, write_record

log = structlog.get_logger()

VANISHED_SECONDS = 120.0
"""A model that comes back sooner, for example by a replacing deploy, keeps its queues."""
REDECLARE_SECONDS = 30.0
"""How often queues are declared again, in case somebody deleted one."""
_AT_ONCE = 8


class ModelQueues:
    """`now` is Unix seconds."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._session: Session | None = None
        self._record: Record = {}
        self._declared: dict[str, float] = {}
        self.trouble: dict[str, str] = {}
        """Model -> why its queues could not be declared."""

    async def keep(self, session: Session, models: Iterable[str], now: float) -> None:
        """Declare what is missing, delete what is no longer needed. Never raises for one model."""
        if session is not self._session:
            self._record, self._declared = await read_record(session, self._names), {}
            self._session = session
        wanted = set(models)
        await self._note(session, wanted, now)
        due = [m for m in sorted(wanted) if now - self._declared.get(m, 0.0) > REDECLARE_SECONDS]
        limit = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._declare(session, model, now, limit) for model in due))
        await self._delete_vanished(session, now)

    async def _declare(
        self, session: Session, model: str, now: float, limit: asyncio.Semaphore
    ) -> None:
        async with limit:
            try:
                await declare_model_queues(session, self._names, model)
            except CONNECTION_TROUBLE as error:
                self.trouble[model] = str(error) or type(error).__name__
                log.warning("queue not declared", model=model, why=self.trouble[model])
            else:
                self._declared[model] = now
                self.trouble.pop(model, None)

    async def _delete_vanished(self, session: Session, now: float) -> None:
        late = {
            m for m, at in self._record.items() if at is not None and now - at > VANISHED_SECONDS
        }
        for model in sorted(late):
            await delete_model_queues(session, self._names, model)
            log.info("queues of a vanished model deleted", model=model)
        if late:
            await self._write(session, {m: at for m, at in self._record.items() if m not in late})

    async def _note(self, session: Session, wanted: set[str], now: float) -> None:
        """Record names before they are declared, and when those that are gone went."""
        record = {
            model: None if model in wanted else self._record.get(model) or now
            for model in self._record.keys() | wanted
        }
        for model in self._declared.keys() - wanted:
            del self._declared[model]
        for model in self.trouble.keys() - wanted:
            del self.trouble[model]
        if record != self._record:
            await self._write(session, record)

    async def _write(self, session: Session, record: Record) -> None:
        await write_record(session, self._names, record)
        self._record = record
