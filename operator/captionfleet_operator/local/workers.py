"""The workers of this machine: adopts them, starts and drains them by plan, restarts the fallen.

Touches no process that it did not start.
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import structlog

from captionfleet.faults import fault_point
from captionfleet.ids import new_nonce
from captionfleet.resources import PoolManifest
from captionfleet_operator.local import process as processes
from captionfleet_operator.local.backoff import Backoff, after_end
from captionfleet_operator.local.environment import worker_environment
from captionfleet_operator.local.process import WorkerProcess
from captionfleet_operator.local.record import WorkerRecord, WorkersFile
from captionfleet_operator.planner import OwnWorker, Plan, World
from captionfleet_operator.settings import OperatorSettings
from captionfleet_operator.workers import Trouble

log = structlog.get_logger()

GRACE_MARGIN_SECONDS = 5.0
"""A worker that obeys its drain limit is not killed in the act of leaving."""
_ORPHAN_GRACE_SECONDS = 300.0
"""What a worker gets whose pool, and so its drain limit, is gone."""


class LocalWorkers:
    """Worker processes by id. `now` is always Unix seconds."""

    shares_memory = True

    def __init__(self, settings: OperatorSettings, custom: Path) -> None:
        self._settings = settings
        self._custom = custom
        self._data = settings.data.resolve()
        self._file = WorkersFile(self._data)
        self._records: dict[str, WorkerRecord] = {}
        self._running: dict[str, WorkerProcess] = {}
        self._backoffs: dict[str, Backoff] = {}

    def adopt(self) -> None:
        """Take over the workers that an earlier operator started and that still run."""
        for worker, record in self._file.read().items():
            if found := processes.find(record):
                self._records[worker] = processes.with_process(record, found)
                self._running[worker] = found
                log.info("worker adopted", worker=worker, pid=found.pid)
        self._file.write(self._records)

    def of_pool(self, pool: str, now: float) -> tuple[OwnWorker, ...]:
        return tuple(
            OwnWorker(worker, max(0.0, now - record.begun), record.draining is not None)
            for worker, record in sorted(self._records.items())
            if record.pool == pool
        )

    def pools(self) -> set[str]:
        return {record.pool for record in self._records.values()}

    def selector(self, pool: str) -> str:
        return ""

    def trouble(self, pool: str, now: float) -> Trouble:
        """Why a worker of the pool is down; empty if none is."""
        sentence = "; ".join(
            f"{off.sentence}; it is started again in {max(1, round(off.until - now))} s"
            for worker, off in sorted(self._backoffs.items())
            if off.until > now and worker.rpartition("-")[0] == pool
        )
        return Trouble(sentence, "WorkerEnded" if sentence else "")

    def look(self, now: float) -> set[str]:
        """Notice who ended, and kill who outstays the grace. Returns the ids of the ended."""
        ended = {worker for worker, process in self._running.items() if not process.runs}
        for worker in ended:
            self._bury(worker, now)
        for worker, record in self._records.items():
            if record.draining is not None and now - record.draining > record.grace:
                log.warning("worker killed: it did not end within its grace", worker=worker)
                self._running[worker].kill()
        if ended:
            self._file.write(self._records)
        return ended

    def act(self, world: World, plan: Plan) -> None:
        """Drain who shall leave and start who is missing."""
        for name, size in sorted(plan.pools.items()):
            pool = world.pools[name].manifest
            grace = pool.spec.drain.timeout_seconds + GRACE_MARGIN_SECONDS
            self.drain(size.drain, grace, world.now)
            for worker in self._missing(name, size.workers, world.now):
                self._start(worker, pool, world.now)
        self.drain(plan.orphans, _ORPHAN_GRACE_SECONDS + GRACE_MARGIN_SECONDS, world.now)

    def drain(self, workers: Iterable[str], grace: float, now: float) -> None:
        for worker in workers:
            record = self._records.get(worker)
            if record and record.draining is None:
                # Recorded first: whoever adopts it must know that it is leaving.
                self._records[worker] = replace(record, draining=now, grace=grace)
                self._file.write(self._records)
                self._running[worker].ask_to_end()
                log.info("worker told to drain", worker=worker, grace_seconds=grace)

    def _missing(self, pool: str, wanted: int, now: float) -> list[str]:
        """Ids to start: the lowest free ones, but for those that pause after a fall."""
        staying = sum(
            record.pool == pool and record.draining is None for record in self._records.values()
        )
        free = (
            worker
            for number in range(1, wanted + len(self._records) + 1)
            if (worker := f"{pool}-{number}") not in self._records
        )
        chosen = [worker for worker, _ in zip(free, range(wanted - staying), strict=False)]
        return [
            worker
            for worker in chosen
            if (off := self._backoffs.get(worker)) is None or off.until <= now
        ]

    def _start(self, worker: str, pool: PoolManifest, now: float) -> None:
        record = WorkerRecord(pool=pool.name, launch=new_nonce(), begun=now)
        environment = worker_environment(os.environ, self._settings, self._custom, pool, worker)
        self._records[worker] = record
        self._file.write(self._records)
        try:
            process = processes.start(environment, record.launch, self._log(worker))
        except OSError as error:
            del self._records[worker]
            self._pause(worker, now, 0.0, f"worker {worker} could not be started: {error}")
        else:
            fault_point("operator: after starting a worker")
            self._running[worker] = process
            self._records[worker] = processes.with_process(record, process)
            log.info("worker started", worker=worker, pid=process.pid)
        self._file.write(self._records)

    def _bury(self, worker: str, now: float) -> None:
        record, process = self._records.pop(worker), self._running.pop(worker)
        log.info("worker ended", worker=worker, how=process.ending)
        if record.draining is None:
            what = f"worker {worker} {process.ending} (see {self._log(worker)})"
            self._pause(worker, now, now - record.begun, what)

    def _pause(self, worker: str, now: float, lived: float, what: str) -> None:
        before = self._backoffs.get(worker)
        self._backoffs[worker] = after_end(before, now=now, lived=lived, what=what)

    def _log(self, worker: str) -> Path:
        return self._data / "logs" / worker / "worker.log"
