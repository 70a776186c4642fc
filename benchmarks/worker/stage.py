"""A real worker process on a real RabbitMQ, and the two ends that it talks to.

The operator's end assigns models, the api's end publishes tasks and gathers results. Nothing
else runs, so that what is measured is the worker.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from benchmarks.no_op import picture_of
from benchmarks.worker.threads import THREADS

from captionfleet.broker.link import Delivery, Link, Session
from captionfleet.broker.names import Names
from captionfleet.broker.topology import (
    declare_exchanges,
    declare_model_queues,
    declare_results_queue,
)
from captionfleet.ids import new_id, new_nonce
from captionfleet.messages import (
    Assignment,
    Copy,
    Generation,
    Heartbeat,
    ModelAssignment,
    Outcome,
    ResultMessage,
    TaskMessage,
    Wanted,
)
from captionfleet.resources.model import ModelSpec
from captionfleet_cli.rabbitmq import start_private_broker

_POOL, _WORKER = "bench", "w1"
_LONGEST_SECONDS = 1800


@dataclass
class Stage:
    """See the module. Results are kept by task, with the moment at which they came."""

    link: Link
    session: Session
    names: Names
    worker: psutil.Process
    data: Path
    replies: str
    came: dict[str, tuple[float, ResultMessage]] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    heard: list[Heartbeat] = field(default_factory=list)
    assigned: dict[str, ModelAssignment] = field(default_factory=dict)
    generations: Iterator[int] = field(default_factory=lambda: count(1))
    waiting: set[str] = field(default_factory=set)

    async def load(self, model: str, spec: Mapping[str, Any]) -> None:
        """Have the worker serve one more model. Raises RuntimeError if it cannot."""
        made = ModelSpec.model_validate(spec)
        await self.open(model)
        self.assigned[model] = ModelAssignment(
            state=Wanted.LOADED, fingerprint=made.fingerprint(), spec=made.as_manifest()
        )
        await self._assign()
        await self._until(lambda: self._serves(model))

    async def open(self, model: str) -> None:
        """Let tasks of a model wait for it."""
        await declare_model_queues(self.session, self.names, model)

    async def unload(self, model: str) -> None:
        del self.assigned[model]
        await self._assign()
        await self._until(lambda: self._copy(model) is None)

    async def torch_threads(self) -> int:
        """How many threads torch has in an engine of this worker, as it tells them there."""
        await self.load("threads", THREADS)
        [task] = await self.send("threads", [picture_of(1000, 0)])
        await self.all_came()
        await self.unload("threads")
        return int(str(self.came[task][1].text))

    async def learned(self, models: Sequence[str], pictures: Sequence[bytes], largest: int) -> None:
        """Keep the models busy until each has settled its best batch size, `largest` at most."""
        # Enough for a full batch of any size to run right behind another: only such count.
        enough = [pictures[number % len(pictures)] for number in range(3 * largest)]
        for model in models:
            before = self._settled()
            while self._settled() == before:
                await self.send(model, enough)
                await self.all_came()

    def batch_size(self, model: str) -> int | None:
        """What the worker has learned."""
        copy = self._copy(model)
        return copy.batch_size if copy else None

    async def send(self, model: str, pictures: Sequence[bytes]) -> list[str]:
        """Publish a task per picture, all at once; their ids."""
        tasks = [self._task(model, each) for each in pictures]
        key = self.names.model_key(model)
        self.waiting = {each.task for each in tasks}
        await asyncio.gather(*(
            self.link.publish(
                self.names.tasks, key, each.picture, headers=each.headers(), reply_to=self.replies
            )
            for each in tasks
        ))  # fmt: skip
        return [each.task for each in tasks]

    async def all_came(self) -> None:
        """Wait for the answers to everything that was sent last."""
        await self._until(lambda: self.waiting <= self.came.keys())
        for task in self.waiting:
            result = self.came[task][1]
            if result.outcome != Outcome.CAPTIONED:
                raise RuntimeError(f"not captioned: {result.outcome}, {result.error_message}")

    async def saturated(self, model: str, pictures: Sequence[bytes]) -> tuple[float, list[str]]:
        """Seconds for these pictures from a queue that is never empty, and their captions.

        One picture goes ahead and keeps the engine busy while the others arrive: the clock starts
        with its answer.
        """
        [ahead] = await self.send(model, pictures[:1])
        tasks = await self.send(model, pictures)
        await self.all_came()
        began = self.came[ahead][0]
        ended = max(self.came[task][0] for task in tasks)
        return ended - began, [str(self.came[task][1].text).strip() for task in tasks]

    def _task(self, model: str, picture: bytes) -> TaskMessage:
        return TaskMessage(
            task=new_id(), token=new_id(), model=model, picture=picture,
            sha256=sha256(picture).hexdigest(), reply_to=self.replies,
        )  # fmt: skip

    def _settled(self) -> int:
        """Copies whose best batch size is known."""
        kept = (self.data / "batch-sizes").glob("*.json")
        return sum(json.loads(each.read_bytes())["known"]["chosen"] is not None for each in kept)

    async def _assign(self) -> None:
        generation = Generation(incarnation="benchmark", counter=next(self.generations))
        assignment = Assignment(worker=_WORKER, generation=generation, models=self.assigned)
        key = self.names.worker_key(_POOL, _WORKER)
        await self.link.publish(self.names.assignments, key, assignment.encode())

    def _copy(self, model: str) -> Copy | None:
        return next((each for each in self.heard[-1].copies if each.model == model), None)

    def _serves(self, model: str) -> bool:
        copy = self._copy(model)
        if copy and copy.reason:
            raise RuntimeError(f"{model} cannot be loaded: {copy.message}")
        return copy is not None and copy.consuming

    async def there(self) -> None:
        """Wait for the worker's first heartbeat."""
        await self._until(lambda: bool(self.heard))

    async def _until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(_LONGEST_SECONDS):
            while not true():
                if self.worker.status() == psutil.STATUS_ZOMBIE:
                    log = (self.data / "worker.log").read_text()[-2000:]
                    raise RuntimeError(f"the worker ended; the end of its log:\n{log}")
                self.news.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.news.wait(), 1)

    async def hear(self, delivery: Delivery) -> None:
        self.heard[:] = [Heartbeat.model_validate_json(delivery.body)]
        self.news.set()

    async def take(self, delivery: Delivery) -> None:
        result = ResultMessage.model_validate_json(delivery.body)
        self.came[result.task] = time.perf_counter(), result
        await delivery.ack()
        self.news.set()


@asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[str]:
    """The address of a RabbitMQ of this benchmark alone."""
    private = start_private_broker(folder)
    try:
        await asyncio.to_thread(private.wait_until_ready, 120)
        yield private.url
    finally:
        private.stop()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Link]:
    async def nothing(_: Session) -> None:
        return None

    link = Link(url, "benchmark", nothing)
    running = asyncio.create_task(link.run())
    await link.connected()
    yield link
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def staged(
    url: str, folder: Path, threads: int, worker_url: str | None = None, device: str = "CPU"
) -> AsyncIterator[Stage]:
    """A worker without models. `worker_url`: the broker's address for the worker, if another."""
    folder.mkdir(parents=True, exist_ok=True)
    names = Names(f"bench-{new_nonce()}")
    async with connected(url) as link:
        session = await link.connected()
        await declare_exchanges(session, names)
        replies = names.results_queue(new_nonce())
        await declare_results_queue(session, names, replies)
        process = _start_worker(worker_url or url, names, folder, threads, device)
        stage = Stage(link, session, names, psutil.Process(process.pid), folder, replies)
        queue = names.listen_queue(names.heartbeats, "bench", new_nonce())
        await session.listen(names.heartbeats, queue, "", stage.hear)
        await session.consume(replies, stage.take, prefetch=200)
        try:
            await stage.there()
            yield stage
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait)


def _start_worker(
    url: str, names: Names, folder: Path, threads: int, device: str
) -> subprocess.Popen[bytes]:
    (folder / "custom_infer").mkdir(exist_ok=True)
    environment = {
        **os.environ, "RABBITMQ_URL": url, "CAPTIONFLEET_FLEET": names.fleet,
        "CAPTIONFLEET_DATA": str(folder), "CAPTIONFLEET_METRICS_PORT": "0",
        "CAPTIONFLEET_CUSTOM_INFER": str(folder / "custom_infer"),
        "CAPTIONFLEET_THREADS": str(threads),
    }  # fmt: skip
    with (folder / "worker.log").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "captionfleet_worker", "--pool", _POOL, "--worker", _WORKER,
             "--device", device],
            env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
