"""The agent: keeps a worker's copies at what its assignment says, and tells the fleet how it is.

Level-triggered: it may be woken for anything or nothing, and looks at everything each time.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Coroutine, Iterable
from typing import Any

import structlog

from captionfleet.broker.link import (
    CONNECTION_TROUBLE,
    Delivery,
    Link,
    NotConfirmed,
    QueueMissing,
    Session,
)
from captionfleet.broker.names import Names
from captionfleet.catalog.folder import custom_folder
from captionfleet.ids import new_id, new_nonce
from captionfleet.messages import Cancellation, CustomClass, Heartbeat, ModelAssignment, Wanted
from captionfleet_worker.assignments import Assignments
from captionfleet_worker.cancelled import Cancelled
from captionfleet_worker.cgroup import cores, read_cgroup
from captionfleet_worker.copies import Copies
from captionfleet_worker.custom_code import CustomCode, code_of
from captionfleet_worker.device import Device, processor
from captionfleet_worker.downloads import Downloads
from captionfleet_worker.draining import Ending, drain, drain_budget
from captionfleet_worker.engine_room import clear_rooms
from captionfleet_worker.fetcher import Fetching, Wishes
from captionfleet_worker.files_here import hub_repository
from captionfleet_worker.learning import KeptSizes
from captionfleet_worker.live_copy import Expect, StartEngine, Workplace
from captionfleet_worker.machine import Machine
from captionfleet_worker.metrics import Meters
from captionfleet_worker.metrics_port import serve_port
from captionfleet_worker.model_files import ModelFiles
from captionfleet_worker.probes import Health
from captionfleet_worker.settings import WorkerSettings
from captionfleet_worker.slots import Slots
from captionfleet_worker.watchdog import MISTRUST_SECONDS, mistrusted

log = structlog.get_logger()

_SIZES = "batch-sizes"
_PERIOD_SECONDS = 2.0
# Changes come in bursts; one heartbeat may speak of many.
_COALESCE_SECONDS = 0.2


class Agent:
    """One worker. `run()` returns when it has drained."""

    def __init__(
        self,
        settings: WorkerSettings,
        device: Device,
        start_engine: StartEngine,
        expect: Expect,
        fetcher: Fetching | None = None,
    ) -> None:
        self._settings = settings
        self._device = device
        self._names = Names(settings.fleet)
        self._incarnation = new_id()
        self._meters = Meters()
        self._machine = Machine(device, self._meters)
        self._to_steer = asyncio.Event()
        self._to_tell = asyncio.Event()
        self._stop = asyncio.Event()
        self._draining = False
        self._started = False
        name = f"worker {settings.pool}.{settings.worker}"
        self._link = Link(settings.rabbitmq_url.get_secret_value(), name, self._set_up)
        self._custom_infer = settings.custom_infer or custom_folder(settings.catalog)
        self._code = CustomCode(self._custom_infer, self._change)
        self._assignments = Assignments(settings.worker, settings.kept_assignment)
        self._downloads = Downloads(settings, self._wishes, self._meters, fetcher)
        self._cancelled = Cancelled()
        self._copies = Copies(self._workplace(start_engine, expect))
        self._files = ModelFiles(self._downloads.fetch, self._delete, self._change)

    def stop(self) -> None:
        """Drain and end. Asked a second time, end at once."""
        if self._stop.is_set():
            self.end_at_once()
        log.info("draining", seconds=self._settings.drain_seconds)
        self._stop.set()

    def end_at_once(self) -> None:
        """End without a word, engines too: the broker gives the work to others."""
        for pid in self._copies.pids():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        os._exit(1)

    async def run(self) -> None:
        """Serve until stop(), then drain."""
        clear_rooms(self._settings.engine_rooms)
        server = await self._serve_port()
        try:
            async with asyncio.TaskGroup() as group:
                loops = [group.create_task(each) for each in self._loops()]
                await self._stop.wait()
                await self._drain()
                for each in loops:
                    each.cancel()
        finally:
            await self._files.end()
            await self._copies.end()
            self._downloads.leave()
            if server:
                server.close()

    def _loops(self) -> list[Coroutine[Any, Any, None]]:
        return [
            self._link.run(),
            self._steering(),
            self._telling(),
            self._resuming(),
            self._watching_consumers(),
            self._code.watch(),
            self._downloads.watch(),
        ]

    # Being told.

    async def _set_up(self, session: Session) -> None:
        """One life of the connection: our own queues of what we are told, then the consumers."""
        pool, worker = self._settings.pool, self._settings.worker
        queue = self._names.worker_queue(pool, worker, new_nonce())
        key = self._names.worker_key(pool, worker)
        await session.listen(self._names.assignments, queue, key, self._hear)
        cancellations = self._names.cancellations
        queue = self._names.listen_queue(cancellations, "worker", new_nonce())
        try:
            await session.listen(cancellations, queue, "", self._hear_cancellation)
        except QueueMissing:  # an older operator: what is canceled is captioned in vain
            log.info("no cancellations are told", missing=cancellations)
        if not self._draining:
            await self._copies.open(session)
        self._meters.sessions.inc()
        self._to_tell.set()

    async def _hear(self, delivery: Delivery) -> None:
        try:
            changed = self._assignments.hear(delivery.body, self._copies.made())
        except ValueError as error:
            self._meters.malformed.inc()
            log.warning("assignment refused", why=str(error))
            return
        if changed:
            self._change()

    async def _hear_cancellation(self, delivery: Delivery) -> None:
        try:
            tokens = Cancellation.model_validate_json(delivery.body).tokens
        except ValueError as error:
            self._meters.malformed.inc()
            log.warning("cancellation refused", why=str(error))
            return
        self._cancelled.add(tokens)
        self._copies.recall()

    async def _resuming(self) -> None:
        await asyncio.sleep(self._settings.resume_seconds)
        if self._assignments.resume():
            log.warning("no operator heard since the start: the last assignment is resumed")
            self._change()

    # Doing.

    async def _steering(self) -> None:
        while True:
            self._to_steer.clear()
            # A copy that takes over consumes before the one it follows ends.
            if self._link.session and not self._draining:
                await self._copies.open(self._link.session)
            if self._assignments.known and not self._draining:
                self._copies.steer(
                    self._assignments.loaded(), self._code_of, self._assignments.most_loads
                )
                self._files.steer(
                    self._assignments.asked_files(), self._files_here, self._copies.models
                )
            await _set_or_timeout(self._to_steer, _PERIOD_SECONDS)

    def _code_of(self, wanted: ModelAssignment) -> str | None:
        return code_of(wanted.spec, self._code.sha256_of)

    async def _watching_consumers(self) -> None:
        while True:
            await asyncio.sleep(MISTRUST_SECONDS / 3)
            await self._check_consumers()

    async def _check_consumers(self) -> None:
        session = self._link.session
        if session is None:
            return
        # Trouble while looking ends the session by itself.
        with contextlib.suppress(*CONNECTION_TROUBLE):
            if models := await self._copies.mistrusted(session, mistrusted):
                log.warning("tasks wait and none come: connecting anew", models=models)
                await session.close()

    async def _drain(self) -> None:
        self._draining = True
        self._to_tell.set()
        brokerless = self._settings.drain_brokerless_seconds
        ending = await drain(
            self._copies.drain(), self._link,
            seconds=drain_budget(self._settings.drain_seconds), brokerless_seconds=brokerless,
        )  # fmt: skip
        if ending == Ending.BROKERLESS:
            log.warning(
                "no broker while draining: ending now; it gives the work to others when it is back",
                seconds=brokerless, why=self._link.trouble or "it does not answer",
            )  # fmt: skip
            return
        if ending == Ending.LATE:
            log.warning("not drained in time: the broker gives the rest to others")
        await self._tell(gone=True)

    # Telling.

    def _change(self) -> None:
        self._to_steer.set()
        self._to_tell.set()

    async def _telling(self) -> None:
        while True:
            self._to_tell.clear()
            await self._machine.measure()
            self._meters.tell_copies(self._copies.views())
            await self._tell()
            await asyncio.sleep(_COALESCE_SECONDS)
            await _set_or_timeout(self._to_tell, _PERIOD_SECONDS - _COALESCE_SECONDS)

    async def _tell(self, *, gone: bool = False) -> None:
        if self._link.session is None:
            return
        try:
            await self._link.publish(
                self._names.heartbeats, "", self._heartbeat(gone=gone).encode(),
                mandatory=False, persistent=False, timeout=5,
            )  # fmt: skip
            self._started = True
        except NotConfirmed as error:
            log.info("heartbeat not sent", why=str(error))

    def _heartbeat(self, *, gone: bool) -> Heartbeat:
        return Heartbeat(
            worker=self._settings.worker, pool=self._settings.pool,
            incarnation=self._incarnation, host=socket.gethostname(), pid=os.getpid(),
            device=self._device.kind, device_name=self._device.name,
            memory_total=self._machine.memory_total, memory_used=self._machine.memory_used,
            sent_at=time.time(), cached=self._cached(), disk=self._downloads.disk,
            custom=[
                CustomClass(entrypoint=each.entrypoint, sha256=each.sha256, problem=each.problem)
                for each in self._code.classes
            ],
            copies=self._copies.views(), files=self._files.views(), held=self._copies.held_tokens(),
            running=self._copies.running_tokens(), assignment=self._assignments.generation,
            draining=self._draining, gone=gone,
        )  # fmt: skip

    def _cached(self) -> list[str]:
        return [name for name, each in self._assignments.models.items() if self._has_files(each)]

    def _has_files(self, each: ModelAssignment) -> bool:
        code_found = each.code_left_out or self._code_of(each) is not None
        return self._downloads.here(each, code_found=code_found)

    def _files_here(self, asked: ModelAssignment) -> bool:
        """Enough to load it; where nothing of it shall be here, also a part of a download."""
        whole = self._has_files(asked)
        return whole or (asked.state == Wanted.ABSENT and self._downloads.any_of(asked))

    def _wishes(self) -> Wishes:
        """Which downloads stay when room is short."""
        wanted = [e for e in self._assignments.models.values() if e.state != Wanted.ABSENT]
        kept = [each for each in wanted if each.asked or each.state == Wanted.LOADED]
        return Wishes(_repositories(kept) | self._copies.repositories, _repositories(wanted))

    async def _delete(self, model: str, asked: ModelAssignment) -> None:
        """Raises LoadFailed if a copy of another model uses the same files."""
        others = {
            name: each.spec
            for name, each in self._assignments.models.items()
            if name != model and name in self._copies.models
        }
        await self._downloads.delete(asked.spec, others)

    async def _serve_port(self) -> asyncio.Server | None:
        host, port = self._settings.metrics_host, self._settings.metrics_port
        try:
            server = await serve_port(self._meters.registry, self._health, host, port)
        except OSError as error:
            log.warning(
                "no metrics and probes: the port is taken. Set CAPTIONFLEET_METRICS_PORT (0 = any)",
                port=port, why=error.strerror,
            )  # fmt: skip
            return None
        port = server.sockets[0].getsockname()[1]
        log.info("metrics", url=f"http://{host}:{port}/metrics")
        return server

    def _health(self) -> Health:
        return Health(self._started, self._draining, self._link.trouble)

    def _workplace(self, start_engine: StartEngine, expect: Expect) -> Workplace:
        settings = self._settings
        return Workplace(
            worker=settings.worker, names=self._names, link=self._link, meters=self._meters,
            device=self._device.torch_name, threads=settings.threads or cores(read_cgroup()),
            custom_infer=self._custom_infer.resolve(), cache=settings.cache,
            rooms=settings.engine_rooms.resolve(), logs=settings.logs_folder.resolve(),
            start_engine=start_engine, expect=expect, loads=Slots(), restarts=Slots(),
            changed=self._change, free_bytes=self._machine.free_bytes,
            device_name=self._device.name or processor(),
            kept_sizes=KeptSizes(self._downloads.notes / _SIZES, settings.data / _SIZES),
            supply=self._downloads.supply, cancelled=self._cancelled, offline=settings.offline,
        )  # fmt: skip


def _repositories(models: Iterable[ModelAssignment]) -> frozenset[str]:
    return frozenset(repo for each in models if (repo := hub_repository(each.spec)))


async def _set_or_timeout(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
