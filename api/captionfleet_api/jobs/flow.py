"""Wires the flow of tasks to the broker and runs its loops: relay, results, demand, sweeper."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aio_pika.exceptions import ChannelNotFoundEntity
from pydantic import ValidationError

from captionfleet.broker.link import Consumer, Delivery, Link, NotConfirmed, QueueMissing, Session
from captionfleet.broker.names import Names
from captionfleet.broker.topology import declare_results_queue, has_exchange
from captionfleet.catalog import Catalog
from captionfleet.ids import new_nonce
from captionfleet.messages import Cancellation, decode_heartbeat
from captionfleet_api.images.blobs import Blobs
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.demand import DemandTeller
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.holds import Holds
from captionfleet_api.jobs.loops import keep_going
from captionfleet_api.jobs.overrides import Overrides
from captionfleet_api.jobs.publisher import IN_FLIGHT, Publisher
from captionfleet_api.jobs.relay import Relay
from captionfleet_api.jobs.results import PREFETCH, Results
from captionfleet_api.jobs.sweeper import Sweeper
from captionfleet_api.jobs.vanished import Vanished
from captionfleet_api.jobs.witness import Witness
from captionfleet_api.settings import ApiSettings
from captionfleet_api.store.engine import Database
from captionfleet_api.store.installation import installation_id

log = structlog.get_logger()

PULSE_SECONDS = 2.0
_BETWEEN_LOOKS = 0.25


class Flow:
    """One per api. It lives as long as `run` does, with or without a broker."""

    def __init__(
        self,
        settings: ApiSettings,
        database: Database,
        changes: Changes,
        fleet_view: FleetView,
        catalog: Catalog,
        blobs: Blobs,
        overrides: Overrides,
    ) -> None:
        self._settings = settings
        self._database = database
        self._changes = changes
        self._fleet_view = fleet_view
        self._catalog = catalog
        self._blobs = blobs
        self._overrides = overrides
        self._run: _Run | None = None

    @property
    def trouble(self) -> str:
        """What keeps tasks from flowing, for people; empty if nothing does."""
        return self._run.trouble if self._run else "the flow of tasks has not begun yet"

    def stop_releasing(self) -> None:
        """Give out nothing new from now on; results are still written."""
        if self._run:
            self._run.releasing = False

    def tell_demand(self) -> None:
        """Tell the operator at once: a person asked something of a worker."""
        if self._run:
            self._run.tell_demand()

    async def recall(self, tokens: frozenset[str]) -> None:
        """Tell workers that nobody waits for these any more. Without a broker nobody is told:
        what they answer then is dropped."""
        if self._run and tokens:
            await self._run.recall(tokens)

    async def run(self) -> None:
        """Serve until cancelled. Transactions that are under way then are finished first."""
        settings, names = self._settings, Names(self._settings.fleet)
        own = names.results_queue(await installation_id(self._database))
        self._run = _Run(
            settings, names, settings.server_queue or own, self._database, self._changes,
            self._fleet_view, self._catalog, self._blobs, self._overrides,
        )  # fmt: skip
        await self._run.serve()


class _Run:
    """The wired parts of one run, and the loops that drive them."""

    def __init__(
        self,
        settings: ApiSettings,
        names: Names,
        results_queue: str,
        database: Database,
        changes: Changes,
        view: FleetView,
        catalog: Catalog,
        blobs: Blobs,
        overrides: Overrides,
    ) -> None:
        link = Link(settings.rabbitmq_url.get_secret_value(), "api", self._set_up)
        self._link = link
        self._names = names
        self._results_queue = results_queue
        self._changes = changes
        self._fleet_view = view
        self._holds = Holds()
        self._publisher = Publisher(
            link, names, results_queue, database, blobs, changes, self._holds
        )
        self._relay = Relay(database, catalog, view, self._publisher, self._holds, changes)
        self._results = Results(database, changes)
        self._overrides = overrides
        self._demand = DemandTeller(link, names, results_queue, database)
        self._witness = Witness(database, view, changes)
        self._vanished = Vanished(database, catalog, changes, settings.model_deleted_seconds)
        self._sweeper = Sweeper(
            link, names, results_queue, database, view, self._results, changes,
            settings.sweep_seconds,
        )  # fmt: skip
        self._consumer: Consumer | None = None
        self._can_recall = False
        """The exchange is there: an older operator does not declare it."""
        self._pulse_now = asyncio.Event()
        self._heard = asyncio.Event()
        self._failing: dict[str, str] = {}
        self.releasing = True
        view.broker_trouble = lambda: link.trouble

    @property
    def trouble(self) -> str:
        return self._link.trouble or next(iter(self._failing.values()), "")

    def tell_demand(self) -> None:
        self._pulse_now.set()

    async def recall(self, tokens: frozenset[str]) -> None:
        if not self._can_recall:
            return
        try:
            await self._link.publish(
                self._names.cancellations, "", Cancellation(tokens=tokens).encode(),
                mandatory=False, persistent=False, timeout=5,
            )  # fmt: skip
        except NotConfirmed as error:
            log.info("workers not told of cancelled tasks", why=str(error))

    async def serve(self) -> None:
        steps: list[tuple[str, Callable[[], Awaitable[object]]]] = [
            ("releasing tasks", self._release),
            ("recording publishes", self._publisher.record_some),
            ("publishing again", self._publisher.repair),
            ("writing results", self._results.write_some),
            ("telling demand", self._pulse),
            ("following heartbeats", self._look),
            ("sweeping", self._sweeper.step),
            *[("publishing", self._publisher.lane)] * IN_FLIGHT,
        ]
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._link.run())
            for what, step in steps:
                loops.create_task(keep_going(what, step, self._told))

    async def _set_up(self, session: Session) -> None:
        """Build what one life of the connection needs. Raises QueueMissing before the operator
        has declared the exchanges.
        """
        names = self._names
        try:
            await declare_results_queue(session, names, self._results_queue)
        except ChannelNotFoundEntity:
            raise QueueMissing(names.results) from None
        self._consumer = await session.consume(
            self._results_queue, self._results.take, prefetch=PREFETCH
        )
        self._can_recall = await has_exchange(session, names.cancellations)
        own = names.listen_queue(names.heartbeats, "api", new_nonce())
        await session.listen(names.heartbeats, own, "", self._hear)
        self._fleet_view.listening()
        self._publisher.connected_anew()
        self._pulse_now.set()

    async def _hear(self, delivery: Delivery) -> None:
        try:
            message = decode_heartbeat(delivery.body)
        except ValidationError as error:
            log.warning("a heartbeat is not readable", problems=error.error_count())
            return
        self._changes.tell((), self._fleet_view.hear(message))
        self._heard.set()

    async def _release(self) -> None:
        models = await self._changes.models_woken()
        if self._demand.begins(models):
            self._pulse_now.set()
        if self.releasing:
            await self._relay.release(models)

    async def _look(self) -> None:
        await self._heard.wait()
        self._heard.clear()
        await self._witness.look()
        await asyncio.sleep(_BETWEEN_LOOKS)

    async def _pulse(self) -> None:
        """Every 2 s and when work begins: tell demand, judge deleted models, wake the relay."""
        try:
            async with asyncio.timeout(PULSE_SECONDS):
                await self._pulse_now.wait()
        except TimeoutError:
            pass  # nothing began; it is time all the same
        self._pulse_now.clear()
        if self._consumer and self._consumer.lost and self._link.session:
            await self._link.session.close()  # the results queue was deleted: set up anew
        await self._overrides.forget_ended()
        models = await self._demand.tell()
        await self._vanished.judge(models)
        self._fleet_view.explain(self._holds.sentences() | self._vanished.sentences())
        self._changes.tell((), {model for model, work in models.items() if work.pending})

    def _told(self, what: str, trouble: str) -> None:
        self._failing.pop(what, None)
        if trouble:
            self._failing[what] = trouble
