"""The operator's link to the fleet: hears heartbeats and demand, tells assignments and reasons."""

import asyncio
from collections.abc import Callable

import structlog
from pydantic import ValidationError

from captionfleet.broker.link import Delivery, Link, NotConfirmed, Session, Unroutable
from captionfleet.broker.names import Names
from captionfleet.broker.topology import declare_exchanges
from captionfleet.ids import new_id, new_nonce
from captionfleet.messages import (
    Assignment,
    Demand,
    Generation,
    Heartbeat,
    ModelAssignment,
    OperatorHeartbeat,
    decode_heartbeat,
)
from captionfleet_operator.hearing import Hearing
from captionfleet_operator.model_assignments import model_assignments
from captionfleet_operator.planner import Plan, WorkerSeen, World
from captionfleet_operator.settings import OperatorSettings

log = structlog.get_logger()

HEARTBEAT_SECONDS = 2.0
_TROUBLE_SECONDS = 10.0
"""A broker that is away for less, for example to restart, is no news."""
_API_PATIENCE_SECONDS = 30.0
"""How long a new operator waits for a first api, which may be starting too, before it acts alone:
without its word, what a person asked to be kept away would be loaded."""


class FleetLink:
    """`wake` is called when something was heard that a plan may turn on."""

    def __init__(
        self, settings: OperatorSettings, hearing: Hearing, wake: Callable[[], None]
    ) -> None:
        self._names = Names(settings.fleet)
        self._listening_seconds = settings.listening_seconds
        self._hearing = hearing
        self._wake = wake
        self._link = Link(settings.rabbitmq_url.get_secret_value(), "operator", self._setup)
        self._connected_at: float | None = None
        self._alone_since = hearing.clock()
        # uuid7, so that a later incarnation sorts after an earlier one.
        self._incarnation = new_id()
        self._sent: dict[str, Assignment] = {}

    async def run(self) -> None:
        await self._link.run()

    @property
    def session(self) -> Session | None:
        return self._link.session

    @property
    def settled(self) -> bool:
        """Connected for long enough to know what is not heard: what people ask of workers, too."""
        if self._link.session is None or self._connected_at is None:
            return False
        least = 0.0 if self._hearing.knows_demand else _API_PATIENCE_SECONDS
        listened = self._hearing.clock() - self._connected_at
        return listened >= max(self._listening_seconds, least)

    @property
    def trouble(self) -> str:
        """Why the broker has been out of reach for a while; empty while it is not."""
        if self._link.session is not None:
            self._alone_since = self._hearing.clock()
            return ""
        alone = self._hearing.clock() - self._alone_since
        return self._link.trouble if alone > _TROUBLE_SECONDS else ""

    async def tell(self, plan: Plan, world: World) -> None:
        """Send the whole of what the plan says to everybody; repeated until heard."""
        if self._link.session is None:
            return
        loads = {
            name: pool.manifest.spec.hosting.max_concurrent_loads
            for name, pool in world.pools.items()
        }
        workers = world.workers
        self._sent = {id_: sent for id_, sent in self._sent.items() if id_ in workers}
        await asyncio.gather(
            self._tell_reasons(plan),
            *(
                self._assign(
                    workers[worker],
                    model_assignments(plan, world, worker),
                    loads.get(workers[worker].pool, 1),
                )
                for worker in plan.assignments
            ),
        )

    async def _setup(self, session: Session) -> None:
        await declare_exchanges(session, self._names)
        for exchange, handle in (
            (self._names.heartbeats, self._on_heartbeat),
            (self._names.demand, self._on_demand),
        ):
            queue = self._names.listen_queue(exchange, "operator", new_nonce())
            await session.listen(exchange, queue, "", handle)
        self._connected_at = self._hearing.clock()
        self._wake()

    async def _on_heartbeat(self, delivery: Delivery) -> None:
        try:
            beat = decode_heartbeat(delivery.body)
        except ValidationError as error:
            log.warning("heartbeat not understood", why=str(error))
            return
        if isinstance(beat, Heartbeat) and self._hearing.heartbeat(beat):
            self._wake()

    async def _on_demand(self, delivery: Delivery) -> None:
        try:
            demand = Demand.model_validate_json(delivery.body)
        except ValidationError as error:
            log.warning("demand not understood", why=str(error))
            return
        if self._hearing.demand(demand):
            self._wake()

    async def _tell_reasons(self, plan: Plan) -> None:
        beat = OperatorHeartbeat(
            operator="operator",
            incarnation=self._incarnation,
            waiting=dict(plan.waiting),
            pools=dict(plan.pool_sentences),
            overrides={worker: dict(states) for worker, states in plan.overrides.items()},
        )
        await self._publish(self._names.heartbeats, "", beat.encode())

    async def _assign(
        self, worker: WorkerSeen, models: dict[str, ModelAssignment], loads: int
    ) -> None:
        assignment = self._generation(worker.id, models, loads)
        key = self._names.worker_key(worker.pool, worker.id)
        await self._publish(self._names.assignments, key, assignment.encode())

    def _generation(
        self, worker: str, models: dict[str, ModelAssignment], loads: int
    ) -> Assignment:
        """The worker's assignment; its counter rises only when the content changes."""
        last = self._sent.get(worker)
        counter = last.generation.counter if last else 0
        if last is None or (last.models, last.max_concurrent_loads) != (models, loads):
            counter += 1
        assignment = Assignment(
            worker=worker,
            generation=Generation(incarnation=self._incarnation, counter=counter),
            models=models,
            max_concurrent_loads=loads,
        )
        self._sent[worker] = assignment
        return assignment

    async def _publish(self, exchange: str, key: str, body: bytes) -> None:
        """What does not arrive is sent again in 2 s anyway."""
        try:
            await self._link.publish(exchange, key, body, persistent=False, timeout=5.0)
        except (Unroutable, NotConfirmed) as error:
            log.debug("not sent", why=str(error))
