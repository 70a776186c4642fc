"""A worker that only talks: it obeys assignments at once and captions nothing.

Put first on PYTHONPATH it stands in for the real package, so that tests of the operator start
real processes in a moment. FAKE_CRASH makes it fail at once, FAKE_STUBBORN deaf to SIGTERM.
"""

import asyncio
import os
import signal
import sys
import time

from captionfleet.broker.link import Delivery, Link, NotConfirmed, Session, Unroutable
from captionfleet.broker.names import Names
from captionfleet.ids import new_nonce
from captionfleet.lifeline import on_lifeline_cut
from captionfleet.messages import Assignment, Copy, CopyState, Heartbeat, Wanted

WORKER = os.environ["CAPTIONFLEET_WORKER"]
POOL = os.environ["CAPTIONFLEET_POOL"]
NAMES = Names(os.environ["CAPTIONFLEET_FLEET"])
RATE = float(os.environ.get("FAKE_RATE", "1"))


class Fake:
    def __init__(self) -> None:
        self.assignment: Assignment | None = None
        self.changed = asyncio.Event()
        self.incarnation = new_nonce()
        self.link = Link(os.environ["RABBITMQ_URL"], f"fake {WORKER}", self.setup)

    async def setup(self, session: Session) -> None:
        queue = NAMES.worker_queue(POOL, WORKER, new_nonce())
        key = NAMES.worker_key(POOL, WORKER)
        await session.listen(NAMES.assignments, queue, key, self.on_assignment)

    async def on_assignment(self, delivery: Delivery) -> None:
        self.assignment = Assignment.model_validate_json(delivery.body)
        self.changed.set()

    def copies(self) -> list[Copy]:
        wanted = self.assignment.models if self.assignment else {}
        return [
            Copy(
                model=name, state=CopyState.READY, fingerprint=each.fingerprint, revision="fake",
                rates={1: RATE}, memory_bytes=10**8, state_seconds=99, idle_seconds=5,
                consuming=True,
            )
            for name, each in wanted.items()
            if each.state == Wanted.LOADED
        ]  # fmt: skip

    async def beat(self, *, gone: bool = False) -> None:
        beat = Heartbeat(
            worker=WORKER, pool=POOL, incarnation=self.incarnation, host="here", pid=os.getpid(),
            device="CPU", memory_total=8 * 10**9, memory_used=0, sent_at=time.time(),
            copies=self.copies(), gone=gone,
            assignment=self.assignment.generation if self.assignment else None,
        )  # fmt: skip
        try:
            await self.link.publish(NAMES.heartbeats, "", beat.encode(), persistent=False)
        except (NotConfirmed, Unroutable):
            return  # the next one follows soon

    async def run(self) -> None:
        on_lifeline_cut(lambda: os._exit(1))
        ended = asyncio.Event()
        if "FAKE_STUBBORN" in os.environ:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        linked = asyncio.create_task(self.link.run())
        while not ended.is_set():
            self.changed.clear()
            await self.beat()
            waits = [asyncio.create_task(each.wait()) for each in (ended, self.changed)]
            await asyncio.wait(waits, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        await self.beat(gone=True)
        linked.cancel()


if "FAKE_CRASH" in os.environ:
    sys.exit(3)
asyncio.run(Fake().run())
