"""A Link keeps one program connected to the broker; a Session is one life of that connection.

Nothing survives a session: consumers, channels and delivery tags die with it and the program's
`setup` builds everything anew on the next one. So there is no half-restored state to trust.
Publishing and consuming use two connections, because a broker under alarm stalls the one that
published. No business rule lives here.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aio_pika
import structlog
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractIncomingMessage,
    AbstractQueue,
)
from aio_pika.connection import make_url
from aio_pika.exceptions import (
    AMQPError,
    ChannelClosed,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    PublishError,
)

from captionfleet.ids import new_id

log = structlog.get_logger()

CONNECTION_TROUBLE = (AMQPError, ConnectionError, OSError, TimeoutError, RuntimeError)
_LONGEST_PAUSE = 10.0


class Unroutable(Exception):
    """No queue is bound for this routing key: nothing was sent."""


class NotConfirmed(Exception):
    """The broker did not confirm: the message may or may not have arrived. Retry the same token."""


class QueueMissing(Exception):
    """The queue, or the exchange, does not exist on the broker."""


@dataclass(frozen=True)
class Delivery:
    """One message taken from a queue."""

    body: bytes
    headers: dict[str, Any]
    reply_to: str | None
    delivery_count: int
    """How often it was delivered before to a consumer that did not answer (quorum queues)."""
    _message: AbstractIncomingMessage = field(repr=False)

    @property
    def alive(self) -> bool:
        """Its channel is open. If not, the broker will deliver the message again: drop it."""
        try:
            return not self._message.channel.is_closed
        except ChannelInvalidStateError:  # how a message says that its channel is gone
            return False

    async def ack(self) -> None:
        """Tell the broker that it is done with; on a dead channel there is nobody to tell."""
        if self.alive:
            with contextlib.suppress(*CONNECTION_TROUBLE):
                await self._message.ack()


@dataclass
class Consumer:
    """An open consumer on a channel of its own."""

    queue: AbstractQueue
    channel: AbstractChannel
    tag: str
    deliver: Callable[[AbstractIncomingMessage], Awaitable[None]]
    ended: bool = False
    """Closed by us, not by the broker."""
    lost: bool = False
    """The broker ended it, for example because its queue was deleted. Its channel lives on."""

    async def cancel(self) -> None:
        """Take nothing new. What was delivered can still be acked."""
        if not self.channel.is_closed:
            with contextlib.suppress(*CONNECTION_TROUBLE):
                await self.queue.cancel(self.tag)

    async def resume(self) -> None:
        """Take deliveries again after cancel()."""
        if not self.channel.is_closed:
            with contextlib.suppress(*CONNECTION_TROUBLE):
                self.tag = await self.queue.consume(self.deliver)

    async def close(self) -> None:
        """Close its channel: whatever is not acked goes back to the queue."""
        self.ended = True
        with contextlib.suppress(*CONNECTION_TROUBLE):
            await self.channel.close()


class Session:
    """One life of the two connections. Use it only while it lives."""

    def __init__(
        self,
        publishing: AbstractConnection,
        consuming: AbstractConnection,
        channel: AbstractChannel,
    ) -> None:
        self._publishing = publishing
        self._consuming = consuming
        self._publish_channel = channel
        self._exchanges: dict[str, aio_pika.abc.AbstractExchange] = {}
        self.closed = asyncio.Event()
        publishing.close_callbacks.add(lambda *_: self.closed.set())
        consuming.close_callbacks.add(lambda *_: self.closed.set())
        channel.close_callbacks.add(lambda *_: self.closed.set())

    async def publish(
        self, exchange: str, key: str, message: aio_pika.Message, *, mandatory: bool, timeout: float
    ) -> None:
        target = self._exchanges.get(exchange)
        if target is None:
            target = await self._publish_channel.get_exchange(exchange, ensure=False)
            self._exchanges[exchange] = target
        await target.publish(message, key, mandatory=mandatory, timeout=timeout)

    async def consume(
        self,
        queue: str,
        handle: Callable[[Delivery], Awaitable[None]],
        *,
        prefetch: int,
    ) -> Consumer:
        """Open a consumer on a queue that must exist. Raises QueueMissing.

        `handle` is awaited per delivery in a task of its own; it must ack, and must not raise.
        """
        channel = await self._consuming.channel()
        try:
            await channel.set_qos(prefetch)
            found = await channel.declare_queue(queue, passive=True)
        except ChannelNotFoundEntity:
            raise QueueMissing(queue) from None

        async def deliver(message: AbstractIncomingMessage) -> None:
            await handle(
                Delivery(
                    body=message.body,
                    headers=dict(message.headers),
                    reply_to=message.reply_to,
                    delivery_count=_count(message.headers.get("x-delivery-count")),
                    _message=message,
                )
            )

        # A consumer channel closed by the broker alone must end the session too: a program that
        # believes it consumes, and does not, waits for ever.
        consumer = Consumer(found, channel, await found.consume(deliver), deliver)
        channel.close_callbacks.add(lambda *_: None if consumer.ended else self.closed.set())
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda _: setattr(consumer, "lost", True))
        return consumer

    async def listen(
        self, exchange: str, queue: str, key: str, handle: Callable[[Delivery], Awaitable[None]]
    ) -> None:
        """Consume an exclusive, auto-deleted queue bound to `exchange`. Raises QueueMissing."""
        channel = await self._consuming.channel()
        await channel.set_qos(64)
        try:
            own = await channel.declare_queue(queue, exclusive=True, auto_delete=True)
            await own.bind(await channel.get_exchange(exchange, ensure=True), key)
        except ChannelNotFoundEntity:
            raise QueueMissing(exchange) from None

        async def deliver(message: AbstractIncomingMessage) -> None:
            await message.ack()
            await handle(
                Delivery(message.body, dict(message.headers), message.reply_to, 0, message)
            )

        await own.consume(deliver)
        channel.close_callbacks.add(lambda *_: self.closed.set())

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        """A short-lived channel for declaring and looking: an error closes only this one."""
        channel = await self._consuming.channel()
        try:
            yield channel
        finally:
            with contextlib.suppress(*CONNECTION_TROUBLE):
                await channel.close()

    async def ready_count(self, queue: str) -> int | None:
        """Messages ready in a queue (unacked ones are not counted); None if there is no queue."""
        async with self.channel() as channel:
            try:
                found = await channel.declare_queue(queue, passive=True)
            except ChannelNotFoundEntity:
                return None
            return found.declaration_result.message_count or 0

    async def close(self) -> None:
        for connection in (self._consuming, self._publishing):
            with contextlib.suppress(*CONNECTION_TROUBLE):
                await connection.close()


class Link:
    """Connects, sets up, and does both again whenever the connection ends, until stopped."""

    def __init__(
        self,
        url: str,
        name: str,
        setup: Callable[[Session], Awaitable[None]],
    ) -> None:
        self._url = url
        self._name = name
        self._setup = setup
        self._session: Session | None = None
        self._connected = asyncio.Event()
        self.trouble = "not connected yet"
        """Why there is no session now, for people. Empty while connected."""

    @property
    def session(self) -> Session | None:
        """The live session, or None while there is none."""
        return self._session

    async def run(self) -> None:
        """Serve until cancelled."""
        pause = 0.1
        while True:
            session: Session | None = None
            try:
                session = await self._connect()
                await self._setup(session)
                self._session, self.trouble, pause = session, "", 0.1
                self._connected.set()
                log.info("broker connected", link=self._name)
                await session.closed.wait()
                self.trouble = "the connection to the broker was lost"
            except QueueMissing as error:
                self.trouble = f"{error} does not exist on the broker yet: is the operator running?"
            except Exception as error:
                # Whatever it was: a program without a broker must go on trying.
                if not isinstance(error, CONNECTION_TROUBLE):
                    log.exception("broker session not set up", link=self._name)
                self.trouble = f"the broker cannot be reached: {error or type(error).__name__}"
            finally:
                self._session = None
                self._connected.clear()
                if session:
                    await session.close()
            log.warning("broker connection retried", link=self._name, why=self.trouble)
            # Jitter, so that a whole fleet does not come back in step.
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def connected(self) -> Session:
        """Wait for a live session."""
        while self._session is None:
            await self._connected.wait()
        return self._session

    async def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        *,
        headers: dict[str, Any] | None = None,
        reply_to: str | None = None,
        content_type: str = "application/json",
        mandatory: bool = True,
        persistent: bool = True,
        timeout: float = 15.0,
    ) -> None:
        """Publish one message and wait for its confirm.

        Raises Unroutable if no queue takes it, NotConfirmed if nobody knows what became of it
        (no session included).
        """
        if self._session is None:
            raise NotConfirmed(self.trouble)
        message = aio_pika.Message(
            body,
            headers=headers,
            reply_to=reply_to,
            content_type=content_type,
            message_id=new_id(),  # returns are matched by it, so it is fresh every time
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT
            if persistent
            else aio_pika.DeliveryMode.NOT_PERSISTENT,
        )
        try:
            await self._session.publish(
                exchange, key, message, mandatory=mandatory, timeout=timeout
            )
        except PublishError as error:
            raise Unroutable(f"no queue is bound to {exchange} under {key}") from error
        except Exception as error:
            # The client gives a bare Exception to what waited on a connection that just closed.
            if isinstance(error, CONNECTION_TROUBLE) or type(error) is Exception:
                raise NotConfirmed(str(error) or type(error).__name__) from error
            raise

    async def _connect(self) -> Session:
        connections: list[AbstractConnection] = []
        try:
            for purpose in ("publish", "consume"):
                connection = aio_pika.Connection(
                    make_url(self._url),
                    client_properties={"connection_name": f"{self._name} {purpose}"},
                    heartbeat=10,
                )
                # Before it connects: one that cannot has to be closed too.
                connections.append(connection)
                await connection.connect(timeout=10)
            channel = await connections[0].channel(on_return_raises=True)
            return Session(connections[0], connections[1], channel)
        except BaseException:
            for each in connections:
                with contextlib.suppress(*CONNECTION_TROUBLE):
                    await each.close()
            raise


def _count(header: Any) -> int:
    return header if isinstance(header, int) else 0


__all__ = [
    "CONNECTION_TROUBLE",
    "ChannelClosed",
    "Consumer",
    "Delivery",
    "Link",
    "NotConfirmed",
    "QueueMissing",
    "Session",
    "Unroutable",
]
