"""What the status of a model is made from: gathered anew each turn, cheap, and comparable.

The same facts give the same status, so a model at rest costs no more than this. Numbers are
rounded here, so that noise is no change.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from captionfleet.messages import Change, Copy, CopyState, Download, ModelDemand
from captionfleet.resources import ModelStatus
from captionfleet.resources.model_status import DownloadStatus, FailureStatus, RolloutStatus
from captionfleet_operator.planner.matching import Refusal
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.own_code import broken_code
from captionfleet_operator.planner.placement import Placement
from captionfleet_operator.planner.proof import status_before
from captionfleet_operator.planner.seen import ModelSeen, WorkerSeen, serves
from captionfleet_operator.planner.sentences import steady_sentence
from captionfleet_operator.planner.speed import rate
from captionfleet_operator.planner.waits import Lack
from captionfleet_operator.planner.world import World

_LONGEST_MESSAGE = 1000
_BROKEN = "CodeError"
"""As a worker calls it once it has tried."""
_NO_DEMAND = ModelDemand()
Copies = Sequence[tuple[WorkerSeen, Copy]]


class CopyFacts(NamedTuple):
    worker: str
    device: str
    state: CopyState
    current: bool
    """Made from the present spec."""
    revision: str | None
    asked: str
    message: str
    consuming: bool
    memory_bytes: int | None
    load_seconds: float | None
    median_seconds: float | None


class Obstacle(NamedTuple):
    """Why it is not placed."""

    reason: str
    lasting: bool
    """Nothing will change by itself: its pool cannot start workers, or they lack good code."""


class Facts(NamedTuple):
    name: str
    generation: int
    fingerprint: str
    suspended: bool
    deleted: bool
    queue_trouble: str
    refused: Refusal | None
    copies: tuple[CopyFacts, ...]
    desired: int
    placed: int
    """Workers that were told to load it."""
    cached_on: tuple[str, ...]
    pending: int
    released: int
    wait_seconds: int | None
    images_per_second: float | None
    obstacle: Obstacle | None
    proven: str | None
    """Fingerprint that passed its smoke test last."""
    proof: bool
    """It is loaded for the proof alone."""
    failure: FailureStatus | None
    rollout: RolloutStatus | None
    """A change that is on its way to the copies."""
    overdue: bool
    """It takes longer than spec.rollout.progressDeadlineSeconds."""
    download: DownloadStatus | None
    sentence: str

    @property
    def is_proven(self) -> bool:
        return self.proven == self.fingerprint

    def in_state(self, *states: CopyState) -> int:
        return sum(copy.state in states for copy in self.copies)

    @property
    def loaded(self) -> int:
        return self.in_state(CopyState.READY)

    @property
    def loading(self) -> int:
        return self.in_state(CopyState.LOADING, CopyState.DOWNLOADING)

    @property
    def up_to_date(self) -> bool:
        """A copy of the present spec is ready."""
        return any(copy.current and copy.state == CopyState.READY for copy in self.copies)

    @property
    def is_broken(self) -> bool:
        """Loading it would fail, as its code tells without being run."""
        return self.obstacle is not None and self.obstacle.reason == _BROKEN


def gather(
    world: World, memory: Memory, placement: Placement, model: ModelSeen, sentence: str
) -> Facts:
    name = model.name
    copies = world.copies_of(name)
    demand = world.demand.get(name, _NO_DEMAND)
    speed = rate(world, memory, name)
    ready = sum(copy.state == CopyState.READY for _, copy in copies)
    placed, goal = placement.count(name), placement.goals[name]
    rollout = rollout_status(world, placement, model, copies, status_before(memory, model).rollout)
    return Facts(
        name=name,
        generation=model.manifest.metadata.generation,
        fingerprint=model.fingerprint,
        suspended=model.spec.suspend,
        deleted=model.deleted,
        queue_trouble=model.queue_trouble,
        refused=world.takers[name].refusal,
        copies=tuple(_copy(model, worker, copy) for worker, copy in copies),
        desired=max(goal.copies, placed),
        placed=placed,
        cached_on=tuple(world.cached_on(name)),
        pending=demand.pending,
        released=demand.released,
        wait_seconds=_wait_seconds(demand.total, speed, max(ready, 1)),
        images_per_second=rounded(speed),
        obstacle=_obstacle(world, placement, name),
        proven=memory.proven.get(name),
        proof=goal.proof,
        failure=_failure(world, model, copies, status_before(memory, model)),
        rollout=rollout,
        overdue=rollout is not None and _is_overdue(world, model, rollout),
        download=_download(world.downloads_of(name)),
        sentence=steady_sentence(world, model, sentence),
    )


def rollout_status(
    world: World,
    placement: Placement,
    model: ModelSeen,
    copies: Copies,
    before: RolloutStatus | None,
) -> RolloutStatus | None:
    """Begun when an old copy serves after a change, over when none does and a new one is ready."""
    old = [
        worker.id
        for worker, copy in copies
        if copy.fingerprint != model.fingerprint and serves(copy)
    ]
    last = before if before and before.digest == model.fingerprint else None
    if not old:
        new = any(
            copy.fingerprint == model.fingerprint and copy.state == CopyState.READY
            for _, copy in copies
        )
        given_up = model.stopped or not placement.count(model.name)
        return None if new or given_up else last
    steps = [placement.steps.get((worker, model.name)) for worker in old]
    gap = next((step.sentence for step in steps if step and step.change == Change.REPLACE), "")
    since = last.since if last else timestamp(world.now)
    return RolloutStatus(
        digest=model.fingerprint, since=since, message=gap or (last.message if last else "")
    )


def _is_overdue(world: World, model: ModelSeen, rollout: RolloutStatus) -> bool:
    begun = datetime.fromisoformat(rollout.since).timestamp()
    return world.now - begun >= model.spec.rollout.progress_deadline_seconds


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def rounded(number: float | None) -> float | None:
    """Two significant digits."""
    return None if number is None else float(f"{number:.2g}")


def _copy(model: ModelSeen, worker: WorkerSeen, copy: Copy) -> CopyFacts:
    return CopyFacts(
        worker=worker.id,
        device=worker.heartbeat.device,
        state=copy.state,
        current=copy.fingerprint == model.fingerprint,
        revision=copy.revision,
        message=(copy.message or "")[:_LONGEST_MESSAGE],
        consuming=copy.consuming,
        memory_bytes=_megabytes(copy.memory_bytes),
        load_seconds=rounded(copy.load_seconds or None),
        asked=copy.asked,
        median_seconds=rounded(copy.median_seconds or None),
    )


def _download(told: Sequence[tuple[str, Download]]) -> DownloadStatus | None:
    """Of the workers that fetch its files the one that has most."""
    if not told:
        return None
    worker, most = max(told, key=lambda each: each[1].bytes_done)
    return DownloadStatus(
        worker=worker, files_done=most.files_done, files_total=most.files_total,
        bytes_done=most.bytes_done // 10**6 * 10**6, bytes_total=most.bytes_total,
        percent=most.percent, bytes_per_second=_two_digits(most.bytes_per_second),
        seconds_left=_two_digits(most.seconds_left),
    )  # fmt: skip


def _two_digits(number: float | None) -> int | None:
    return None if number is None else int(float(f"{number:.2g}"))


def _megabytes(size: int | None) -> int | None:
    """Rounded to 16 MB."""
    return None if size is None else round(size / 2**24) * 2**24


def _wait_seconds(total: int, speed: float | None, copies: int) -> int | None:
    if not total:
        return 0
    return round(total / (speed * copies)) if speed else None


def _obstacle(world: World, placement: Placement, name: str) -> Obstacle | None:
    wait = placement.waits.get(name)
    if wait is None:
        at_rest = not (placement.count(name) or world.copies_of(name))
        broken = at_rest and broken_code(world, world.models[name])
        return Obstacle(_BROKEN, lasting=True) if broken else None
    pool = world.pools[wait.pool]
    if wait.lack == Lack.WORKER and pool.trouble:
        return Obstacle(pool.trouble_reason or "WorkerTrouble", lasting=True)
    return Obstacle(wait.lack.value, lasting=wait.lack == Lack.CODE)


def _failure(
    world: World, model: ModelSeen, copies: Copies, before: ModelStatus
) -> FailureStatus | None:
    """The failed copy that is there, else the last failure of this spec until a copy is ready."""
    last = before.last_failure
    for worker, copy in copies:
        if copy.state == CopyState.FAILED and copy.fingerprint == model.fingerprint:
            return _steady(_told(world, worker, copy), last)
    if last is None or last.fingerprint != model.fingerprint:
        return None
    healed = any(
        copy.state == CopyState.READY and copy.fingerprint == model.fingerprint
        for _, copy in copies
    )
    return None if healed else last


def _told(world: World, worker: WorkerSeen, copy: Copy) -> FailureStatus:
    heard_at = world.now - worker.silent_seconds
    retry_in = copy.retry_in_seconds
    return FailureStatus(
        reason=copy.reason or "Failed",
        message=(copy.message or "no reason was given")[:_LONGEST_MESSAGE],
        worker=worker.id,
        time=timestamp(heard_at - copy.state_seconds),
        next_retry_time=None if retry_in is None else timestamp(heard_at + retry_in),
        retriable=copy.retriable,
        fingerprint=copy.fingerprint,
    )


def _steady(failure: FailureStatus, before: FailureStatus | None) -> FailureStatus:
    """The same failure seen again: a second more or less in its times is no news."""
    if before is None:
        return failure
    times = {"time": failure.time, "next_retry_time": failure.next_retry_time}
    if before.model_copy(update=times) != failure:
        return failure
    if _apart(failure.time, before.time) or _apart(failure.next_retry_time, before.next_retry_time):
        return failure
    return before


def _apart(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return one != other
    return abs((datetime.fromisoformat(one) - datetime.fromisoformat(other)).total_seconds()) > 3
