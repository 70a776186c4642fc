"""Declares what a fleet needs on the broker. Only the operator calls this (and each api for its
own results queue); everybody else finds things by passive declaration.
"""

import contextlib

from aio_pika import ExchangeType
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.abc import ArgumentsType

from captionfleet.broker.link import Session
from captionfleet.broker.names import Names

QUORUM: ArgumentsType = {"x-queue-type": "quorum"}


async def declare_exchanges(session: Session, names: Names) -> None:
    async with session.channel() as channel:
        for name in (names.tasks, names.results, names.assignments):
            await channel.declare_exchange(name, ExchangeType.DIRECT, durable=True)
        for name in (names.heartbeats, names.demand, names.cancellations):
            await channel.declare_exchange(name, ExchangeType.FANOUT, durable=True)


async def has_exchange(session: Session, name: str) -> bool:
    async with session.channel() as channel:
        try:
            await channel.get_exchange(name, ensure=True)
        except ChannelNotFoundEntity:
            return False
    return True


async def declare_model_queues(session: Session, names: Names, model: str) -> None:
    """The model's queue and its suspect queue, both bound to the tasks exchange."""
    async with session.channel() as channel:
        tasks = await channel.get_exchange(names.tasks, ensure=False)
        for name, key in (
            (names.model_queue(model), names.model_key(model)),
            (names.suspect_queue(model), names.suspect_key(model)),
        ):
            queue = await channel.declare_queue(name, durable=True, arguments=QUORUM)
            await queue.bind(tasks, key)


async def delete_model_queues(session: Session, names: Names, model: str) -> None:
    for name in (names.model_queue(model), names.suspect_queue(model)):
        async with session.channel() as channel:
            with contextlib.suppress(ChannelNotFoundEntity):
                await channel.queue_delete(name)


async def declare_results_queue(session: Session, names: Names, queue_name: str) -> None:
    """An api's own results queue, bound under its own name."""
    async with session.channel() as channel:
        queue = await channel.declare_queue(queue_name, durable=True, arguments=QUORUM)
        await queue.bind(await channel.get_exchange(names.results, ensure=False), queue_name)
