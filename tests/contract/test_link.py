"""The broker link: confirmed publishing, and answers instead of silence."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import pytest
from tests.conftest import eventually
from yarl import URL

from captionfleet.broker.link import Delivery, Link, NotConfirmed, QueueMissing, Session, Unroutable
from captionfleet.broker.names import Names
from captionfleet.broker.topology import declare_model_queues


async def nothing(_: Session) -> None:
    """What these links set up."""


@pytest.fixture
async def link(broker_url: str, session: Session) -> AsyncIterator[Link]:
    link = Link(broker_url, "test link", nothing)
    task = asyncio.create_task(link.run())
    await link.connected()
    yield link
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_published_task_reaches_the_consumer_of_its_model(
    link: Link, session: Session, names: Names
) -> None:
    got: list[Delivery] = []

    async def handle(delivery: Delivery) -> None:
        got.append(delivery)
        await delivery.ack()

    await declare_model_queues(session, names, "m")
    await session.consume(names.model_queue("m"), handle, prefetch=4)
    await link.publish(names.tasks, names.model_key("m"), b"picture", headers={"task": "1"})
    await eventually(lambda: got)
    delivery = got[0]
    assert delivery.body == b"picture"
    assert delivery.headers["task"] == "1"
    assert delivery.delivery_count == 0


async def test_a_task_for_a_model_without_a_queue_is_refused_aloud(
    link: Link, names: Names
) -> None:
    with pytest.raises(Unroutable):
        await link.publish(names.tasks, names.model_key("nobody"), b"picture")


async def test_consuming_a_missing_queue_names_it(session: Session, names: Names) -> None:
    async def handle(_: Delivery) -> None:
        raise AssertionError("nothing is there to be delivered")

    with pytest.raises(QueueMissing, match="nowhere"):
        await session.consume("nowhere", handle, prefetch=1)
    assert not session.closed.is_set()


async def test_publishing_without_a_connection_says_that_nothing_is_known() -> None:
    link = Link("amqp://127.0.0.1:1/", "nobody", nothing)
    with pytest.raises(NotConfirmed):
        await link.publish("exchange", "key", b"")


async def test_a_link_that_cannot_connect_leaves_no_connection_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[aio_pika.Connection] = []

    class Remembered(aio_pika.Connection):
        def __init__(self, url: URL, **settings: Any) -> None:
            super().__init__(url, **settings)
            made.append(self)

    monkeypatch.setattr(aio_pika, "Connection", Remembered)
    link = Link("amqp://127.0.0.1:1/", "nobody", nothing)
    running = asyncio.create_task(link.run())
    await eventually(lambda: "cannot be reached" in link.trouble)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert made
    assert all(each.is_closed for each in made)


async def test_an_unacked_delivery_comes_back_counted(
    link: Link, session: Session, names: Names
) -> None:
    counts: list[int] = []

    async def handle(delivery: Delivery) -> None:
        counts.append(delivery.delivery_count)
        if delivery.delivery_count:
            await delivery.ack()

    await declare_model_queues(session, names, "m")
    consumer = await session.consume(names.model_queue("m"), handle, prefetch=1)
    await link.publish(names.tasks, names.model_key("m"), b"")
    await eventually(lambda: counts == [0])
    await consumer.close()
    await session.consume(names.model_queue("m"), handle, prefetch=1)
    await eventually(lambda: counts == [0, 1])


async def test_a_delivery_of_a_closed_channel_is_dead_and_acked_in_silence(
    link: Link, session: Session, names: Names
) -> None:
    got: list[Delivery] = []

    async def handle(delivery: Delivery) -> None:
        got.append(delivery)

    await declare_model_queues(session, names, "m")
    consumer = await session.consume(names.model_queue("m"), handle, prefetch=4)
    await link.publish(names.tasks, names.model_key("m"), b"picture")
    await eventually(lambda: got)
    assert got[0].alive
    await consumer.close()
    assert not got[0].alive
    await got[0].ack()
