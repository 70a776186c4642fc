"""The record of declared model queues, kept on the broker itself, beside what it speaks of.

AMQP cannot list queues, so without a record the queues of models that vanished while no operator
ran would stay for ever. On the broker it needs no disk and goes when the broker is wiped.
"""

import json

import aio_pika

from captionfleet.broker.link import Session
from captionfleet.broker.names import Names
from captionfleet.broker.topology import QUORUM

Record = dict[str, float | None]
"""Model -> Unix time when it vanished; None while it is there."""


async def read_record(session: Session, names: Names) -> Record:
    """Everything on record. It stays there."""
    return await _exchange(session, names, None)


async def write_record(session: Session, names: Names, record: Record) -> None:
    """Replace the record. A crash in between leaves both: names are only ever known too well."""
    await _exchange(session, names, record)


async def _exchange(session: Session, names: Names, fresh: Record | None) -> Record:
    """Take what is there, put the fresh record (or the same), then let go of what was taken."""
    async with session.channel() as channel:
        queue = await channel.declare_queue(names.queue_record, durable=True, arguments=QUORUM)
        taken = []
        while message := await queue.get(fail=False, timeout=10):
            taken.append(message)
        known: Record = {}
        for message in taken:
            known |= json.loads(message.body)
        record = known if fresh is None else fresh
        body = json.dumps(record, sort_keys=True).encode()
        # Put anew even when only read: a message given back too often would be dropped.
        await channel.default_exchange.publish(
            aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT),
            names.queue_record,
            timeout=10,
        )
        for message in taken:
            await message.ack()
        return record
