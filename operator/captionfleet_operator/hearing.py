"""What was heard on the broker, and when: heartbeats of workers, demand of apis."""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

from captionfleet.messages import Demand, Heartbeat, ModelDemand, Wanted
from captionfleet_operator.planner import WorkerSeen

FORGOTTEN_SECONDS = 30.0
"""A worker that is not ours and unheard for so long is gone."""
STALE_SECONDS = 30.0
"""Demand older than this may have grown unheard."""
OVERTAKEN_SECONDS = 10.0
"""A database whose changes count less for longer was restored from an older state."""
BACKEND_FORGOTTEN_SECONDS = 600.0
"""An api unheard for so long is gone for good, unless it is the only one."""


@dataclass
class Hearing:
    """Times are seconds of the monotonic clock; age counts from arrival, never from senders."""

    clock: Callable[[], float]
    _beats: dict[str, tuple[Heartbeat, float]] = field(default_factory=dict)
    _demands: dict[str, tuple[Demand, float]] = field(default_factory=dict)

    def heartbeat(self, beat: Heartbeat) -> bool:
        """Take one in. True if it tells of more than the passing of time."""
        before = self._beats.pop(beat.worker, None)
        if beat.gone:
            return True
        self._beats[beat.worker] = (beat, self.clock())
        return before is None or _gist(before[0]) != _gist(beat)

    def demand(self, demand: Demand) -> bool:
        """Take one in. True if a model's work begins, or a person asked for something."""
        before = self._demands.get(demand.backend)
        if before and demand.as_of < before[0].as_of and self._age(before[1]) < OVERTAKEN_SECONDS:
            # Another api of the same database read later, and was faster: a person's word stands.
            newer = {"overrides": before[0].overrides, "as_of": before[0].as_of}
            demand = demand.model_copy(update=newer)
        self._demands[demand.backend] = (demand, self.clock())
        if before is None or demand.overrides != before[0].overrides:
            return True
        begun = {name for name, each in demand.models.items() if each.total}
        known = {name for name, each in before[0].models.items() if each.total} if before else set()
        return bool(begun - known)

    def forget(self, workers: Set[str]) -> None:
        for worker in workers:
            self._beats.pop(worker, None)

    def workers(self, own: Set[str], draining: Set[str]) -> dict[str, WorkerSeen]:
        """Workers by id. Our own stay while they run; others until they are silent too long."""
        now = self.clock()
        for worker, (_, at) in list(self._beats.items()):
            if worker not in own and now - at > FORGOTTEN_SECONDS:
                del self._beats[worker]
        return {
            worker: WorkerSeen(
                heartbeat=beat,
                silent_seconds=now - at,
                own=worker in own,
                draining=beat.draining or worker in draining,
            )
            for worker, (beat, at) in self._beats.items()
        }

    def total_demand(self) -> dict[str, ModelDemand]:
        """Sum over backends. Two apis of one database share a backend and count once."""
        self._forget_backends()
        total: dict[str, ModelDemand] = {}
        for demand, _ in self._demands.values():
            for name, each in demand.models.items():
                so_far = total.get(name, ModelDemand())
                total[name] = ModelDemand(
                    pending=so_far.pending + each.pending,
                    released=so_far.released + each.released,
                )
        return total

    def overrides(self, workers: Mapping[str, WorkerSeen]) -> dict[str, dict[str, Wanted]]:
        """Worker -> model -> what was asked in this life of the worker, oldest first.

        Where two backends ask differently, the later one has its way.
        """
        self._forget_backends()
        asked = [each for demand, _ in self._demands.values() for each in demand.overrides]
        found: dict[str, dict[str, Wanted]] = {}
        for each in sorted(asked, key=lambda each: (each.asked_at, each.worker, each.model)):
            worker = workers.get(each.worker)
            if worker and worker.heartbeat.incarnation == each.incarnation:
                of_worker = found.setdefault(each.worker, {})
                of_worker.pop(each.model, None)
                of_worker[each.model] = each.state
        return found

    def _age(self, at: float) -> float:
        return self.clock() - at

    @property
    def knows_demand(self) -> bool:
        """Some api has spoken, however long ago."""
        return bool(self._demands)

    def demand_is_fresh(self) -> bool:
        """Every known api spoke lately, and there is one."""
        self._forget_backends()
        now = self.clock()
        return bool(self._demands) and all(
            now - at <= STALE_SECONDS for _, at in self._demands.values()
        )

    def _forget_backends(self) -> None:
        now = self.clock()
        for backend, (_, at) in list(self._demands.items()):
            if now - at > BACKEND_FORGOTTEN_SECONDS and len(self._demands) > 1:
                del self._demands[backend]


def _gist(beat: Heartbeat) -> tuple[object, ...]:
    """The part of a heartbeat on which the plan may turn at once."""
    copies = [
        (c.model, c.state, c.fingerprint, c.reason, c.consuming)
        for copy in beat.copies
        for c in copy.both
    ]
    return beat.incarnation, beat.pool, beat.draining, sorted(beat.cached), sorted(copies, key=str)
