"""A worker whose every step a test decides: it consumes for real, and answers by a script."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.api.flow_parts import copy_of, fingerprint_of, heartbeat

from captionfleet.broker.link import Delivery, Link, NotConfirmed, Session
from captionfleet.broker.names import Names
from captionfleet.broker.topology import declare_exchanges, declare_model_queues
from captionfleet.ids import new_nonce
from captionfleet.messages import Copy, Disk, Outcome, ResultMessage, TaskMessage


def truth_of(message: TaskMessage) -> str:
    """The only right caption of this picture by this model under this prompt."""
    return f"{message.model} sees {message.sha256} {message.prompt}"


def captioned(message: TaskMessage) -> ResultMessage:
    return ResultMessage(
        task=message.task, token=message.token, model=message.model, sha256=message.sha256,
        outcome=Outcome.CAPTIONED, worker="w", text=truth_of(message), seconds=0.01,
        revision="r1", fingerprint=fingerprint_of(message.model),
    )  # fmt: skip


@dataclass
class ScriptedWorker:
    """Consumes these models. `answer` is given a task and how often it was delivered before,
    and gives the results; none means: hold it unanswered."""

    url: str
    names: Names
    models: tuple[str, ...]
    answer: Callable[[TaskMessage, int], list[ResultMessage]] = lambda message, _: [
        captioned(message)
    ]
    id: str = field(default_factory=lambda: f"w-{new_nonce()}")
    seen: list[TaskMessage] = field(default_factory=list)
    held: dict[str, Delivery] = field(default_factory=dict)
    loading: list[Copy] = field(default_factory=list)
    """Copies that are told beside the ready ones."""
    disk: Disk | None = None

    def __post_init__(self) -> None:
        self.link = Link(self.url, self.id, self._set_up)

    async def live(self) -> None:
        """Consume, and send a heartbeat some times per second, until cancelled."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self.link.run())
            loops.create_task(self._beat())

    async def _set_up(self, session: Session) -> None:
        await declare_exchanges(session, self.names)
        self.held.clear()
        for model in self.models:
            await declare_model_queues(session, self.names, model)
            await session.consume(self.names.model_queue(model), self._handle, prefetch=8)
            await session.consume(self.names.suspect_queue(model), self._handle, prefetch=1)

    async def _beat(self) -> None:
        while True:
            await self.link.connected()
            copies = [copy_of(model) for model in self.models] + self.loading
            message = heartbeat(
                *copies, worker=self.id, held=list(self.held), running=list(self.held),
                disk=self.disk,
            )  # fmt: skip
            with suppress(NotConfirmed):
                await self.link.publish(
                    self.names.heartbeats, "", message.encode(), mandatory=False, persistent=False
                )
            await asyncio.sleep(0.2)

    async def _handle(self, delivery: Delivery) -> None:
        message = TaskMessage.decode(delivery.headers, delivery.reply_to, delivery.body)
        self.seen.append(message)
        self.held[message.token] = delivery
        results = self.answer(message, delivery.delivery_count)
        if results:
            await self.finish(message, *results)

    async def finish(self, message: TaskMessage, *results: ResultMessage) -> None:
        """Publish the results, then ack."""
        await self.link.connected()  # deliveries begin while the link is still being set up
        with suppress(NotConfirmed):
            for result in results:
                await self.link.publish(self.names.results, message.reply_to, result.encode())
            delivery = self.held.pop(message.token, None)
            if delivery:
                await delivery.ack()


@asynccontextmanager
async def working(worker: ScriptedWorker) -> AsyncIterator[ScriptedWorker]:
    """The worker lives as long as the block; then its connection ends, as if it were killed."""
    life = asyncio.create_task(worker.live())
    try:
        await worker.link.connected()
        yield worker
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
