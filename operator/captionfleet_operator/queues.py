"""Keeps the queues on the broker in step with the models of the catalog.

The names declared are on record in DATA/operator/queues.json, so that queues of models that
vanished while no operator ran are found and deleted too.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import structlog

from captionfleet.broker.link import CONNECTION_TROUBLE, Session
from captionfleet.broker.names import Names
from captionfleet.broker.topology import declare_model_queues, delete_model_queues

log = structlog.get_logger()

VANISHED_SECONDS = 120.0
"""A model that comes back sooner, for example by a replacing deploy, keeps its queues."""
REDECLARE_SECONDS = 30.0
"""How often queues are declared again, in case somebody deleted one."""


class ModelQueues:
    """`now` is Unix seconds."""

    def __init__(self, names: Names, data: Path) -> None:
        self._names = names
        self._file = data / "operator" / "queues.json"
        self._vanished: dict[str, float | None] = _read(self._file)
        self._session: Session | None = None
        self._declared: dict[str, float] = {}
        self.trouble: dict[str, str] = {}
        """Model -> why its queues could not be declared."""

    async def keep(self, session: Session, models: Iterable[str], now: float) -> None:
        """Declare what is missing, delete what is no longer needed. Never raises for one model."""
        if session is not self._session:
            self._session, self._declared = session, {}
        wanted = set(models)
        self._note(wanted, now)
        for model in sorted(wanted):
            if now - self._declared.get(model, 0.0) > REDECLARE_SECONDS:
                await self._declare(session, model, now)
        for model, since in list(self._vanished.items()):
            if since is not None and now - since > VANISHED_SECONDS:
                await delete_model_queues(session, self._names, model)
                log.info("queues of a vanished model deleted", model=model)
                del self._vanished[model]
                self._write()

    async def _declare(self, session: Session, model: str, now: float) -> None:
        try:
            await declare_model_queues(session, self._names, model)
        except CONNECTION_TROUBLE as error:
            self.trouble[model] = str(error) or type(error).__name__
            log.warning("queue not declared", model=model, why=self.trouble[model])
        else:
            self._declared[model] = now
            self.trouble.pop(model, None)

    def _note(self, wanted: set[str], now: float) -> None:
        """Record names before they are declared, and when those that are gone went."""
        known = {
            model: None if model in wanted else self._vanished.get(model) or now
            for model in self._vanished.keys() | wanted
        }
        for model in self._declared.keys() - wanted:
            del self._declared[model]
        for model in self.trouble.keys() - wanted:
            del self.trouble[model]
        if known != self._vanished:
            self._vanished = known
            self._write()

    def _write(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        fresh.write_text(json.dumps(self._vanished, indent=1, sort_keys=True))
        fresh.replace(self._file)


def _read(file: Path) -> dict[str, float | None]:
    """Model -> when it vanished, None while it is there. Unreadable means: nothing known."""
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError) as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("record of queues unreadable, begun anew", file=str(file), why=str(error))
        return {}
