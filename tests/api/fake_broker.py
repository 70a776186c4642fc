"""A broker in memory that misbehaves on demand, where a real one cannot be made to."""

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from captionfleet.broker.link import NotConfirmed, Unroutable
from captionfleet.broker.names import Names
from captionfleet.messages import TaskMessage


class Fate(Enum):
    """What the broker does with a publish."""

    TAKEN = "taken"
    TAKEN_UNCONFIRMED = "taken, but the confirm is lost"
    LOST = "lost on the way"
    TAKEN_AND_LOST = "confirmed, then lost"
    NO_QUEUE = "no queue"


@dataclass(frozen=True)
class Stored:
    """A task in a queue, with how often it was delivered before."""

    message: TaskMessage
    count: int = 0

    def again(self) -> "Stored":
        return replace(self, count=self.count + 1)


@dataclass
class FakeBroker:
    """Looks like a Link and its Session to relay and sweeper."""

    names: Names
    fates: deque[Fate] = field(default_factory=deque)
    queues: defaultdict[str, list[Stored]] = field(default_factory=lambda: defaultdict(list))
    published: list[TaskMessage] = field(default_factory=list)
    waiting_results: int = 0

    @property
    def session(self) -> "FakeBroker":
        return self

    async def connected(self) -> "FakeBroker":
        return self

    async def ready_count(self, queue: str) -> int | None:
        if queue.startswith(self.names.results):
            return self.waiting_results
        return len(self.queues[queue]) if queue in self.queues else None

    async def publish(self, exchange: str, key: str, body: bytes, **properties: Any) -> None:
        fate = self.fates.popleft() if self.fates else Fate.TAKEN
        message = TaskMessage.decode(properties["headers"], properties["reply_to"], body)
        if fate is Fate.NO_QUEUE:
            raise Unroutable(key)
        self.published.append(message)
        if fate in (Fate.TAKEN, Fate.TAKEN_UNCONFIRMED):
            self.queues[f"{exchange}.{key}"].append(Stored(message))
        if fate in (Fate.TAKEN_UNCONFIRMED, Fate.LOST):
            raise NotConfirmed(fate.value)

    def wipe(self) -> None:
        self.queues.clear()


@dataclass
class FakeAnswer:
    """A delivery of the results queue."""

    body: bytes
    acked: Callable[[], None] = lambda: None

    async def ack(self) -> None:
        self.acked()
