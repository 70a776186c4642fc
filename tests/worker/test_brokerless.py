"""A worker that drains while its broker is gone: it waits a little, then leaves the work to others.

The tests share a broker of their own, because they stop and end it.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.conftest import eventually
from tests.worker.conftest import linked
from tests.worker.processes import PATIENT_SPEC, WorkerProcess, worker_process
from tests.worker.stand_ins import Desk, Operator
from tests.worker.test_process import plain, serving

from captionfleet.broker.names import Names
from captionfleet_cli.rabbitmq import PrivateBroker, start_private_broker

pytestmark = pytest.mark.services


class Broker:
    """A broker that may be stopped, ended and started again at the same place."""

    def __init__(self, folder: Path) -> None:
        self._server = start_private_broker(folder)

    @property
    def server(self) -> PrivateBroker:
        return self._server

    def have(self) -> None:
        """Wait until it runs; start it again if it was ended."""
        if self._server.process.poll() is not None:
            self._server = start_private_broker(self._server.folder, port=self._server.port)
        self.signal(signal.SIGCONT)
        self._server.wait_until_ready(90)

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self._server.process.pid, number)


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("rabbitmq"))
    yield broker
    broker.server.kill()


@pytest.fixture
def broker(own_broker: Broker) -> Broker:
    own_broker.have()
    return own_broker


@pytest.fixture
def broker_url(broker: Broker) -> str:
    return broker.server.url


async def in_mid_drain(worker: WorkerProcess, operator: Operator, desk: Desk) -> str:
    """Have it drain with an engine at work; the task it works on."""
    await serving(operator, PATIENT_SPEC)
    [task] = await desk.send(plain("#102030"))
    await eventually(lambda: (worker.code / "begun").exists())
    worker.signal()
    await eventually(lambda: operator.last.draining)
    return task


async def ended(worker: WorkerProcess) -> int | None:
    await eventually(lambda: worker.ended is not None, seconds=60, what="the worker's end")
    return worker.ended


async def test_a_draining_worker_ends_when_its_broker_answers_nothing_any_more(
    broker: Broker, broker_url: str, names: Names, tmp_path: Path, operator: Operator, desk: Desk
) -> None:
    with worker_process(broker_url, names, tmp_path / "w", drain_brokerless_seconds="2") as worker:
        await in_mid_drain(worker, operator, desk)
        began = time.monotonic()
        broker.signal(signal.SIGSTOP)  # its connections look alive
        try:
            assert await ended(worker) == 0, worker.log
            assert time.monotonic() - began < 30
        finally:
            broker.signal(signal.SIGCONT)
    assert "no broker while draining" in worker.log
    await eventually(desk.left, what="the task is back in its queue")


async def test_a_broker_that_comes_back_in_time_gets_the_answers(
    broker: Broker, broker_url: str, names: Names, tmp_path: Path, operator: Operator, desk: Desk
) -> None:
    with worker_process(broker_url, names, tmp_path / "w", drain_brokerless_seconds="90") as worker:
        task = await in_mid_drain(worker, operator, desk)
        broker.server.kill()
        worker.go()
        broker.have()
        assert await ended(worker) == 0, worker.log
    assert "no broker while draining" not in worker.log
    async with linked(broker_url) as link:
        await (await link.connected()).consume(desk.queue, desk._take, prefetch=10)
        await eventually(lambda: desk.outcomes() == {task: "#102030"})


async def test_a_draining_worker_ends_when_its_broker_has_ended(
    broker: Broker, broker_url: str, names: Names, tmp_path: Path, operator: Operator, desk: Desk
) -> None:
    with worker_process(broker_url, names, tmp_path / "w", drain_brokerless_seconds="2") as worker:
        await in_mid_drain(worker, operator, desk)
        [engine] = worker.engines
        began = time.monotonic()
        broker.server.kill()
        assert await ended(worker) == 0, worker.log
        assert time.monotonic() - began > 2, "it waited for the broker"
        psutil.wait_procs([engine], timeout=20)
        assert not engine.is_running()
    assert "no broker while draining" in worker.log
