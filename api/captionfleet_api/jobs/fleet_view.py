"""What this api knows of the fleet: the last heartbeat of each worker and of the operator.

Everything is judged by the time of arrival on our own clock. Heartbeats come in through `hear`;
no I/O happens here.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from captionfleet.messages import (
    Copy,
    Disk,
    Download,
    Heartbeat,
    OperatorHeartbeat,
    OverrideState,
    Wanted,
)
from captionfleet_api.jobs import waiting
from captionfleet_api.jobs.release_window import Window, takes_work, window

HEARTBEAT_SECONDS = 2.0
FRESH_SECONDS = 3 * HEARTBEAT_SECONDS
KEPT_SECONDS = 30.0
OPERATOR_SILENT_SECONDS = 10.0


@dataclass(frozen=True)
class CopyView:
    """A model on a worker, as REST shows it."""

    model: str
    state: str
    revision: str | None
    memory: int | None
    """Bytes."""
    in_flight: int
    """Tasks of this api's own that the worker holds for this model."""
    message: str | None
    download: Download | None
    consuming: bool
    rate: float | None
    """Pictures per second at the best batch size."""


@dataclass(frozen=True)
class WorkerView:
    """A worker heard from within the last 30 s, as REST shows it."""

    id: str
    incarnation: str
    """Another one is another life of the worker."""
    pool: str
    node: str
    device: str
    device_name: str
    memory_total: int
    memory_used: int
    copies: tuple[CopyView, ...]
    cached: tuple[str, ...]
    disk: Disk | None
    draining: bool
    fresh: bool
    """Heard from within three heartbeat periods."""
    seen_at: float
    """Unix seconds of its last heartbeat, by the api's clock."""


@dataclass(frozen=True)
class _Heard:
    message: Heartbeat
    at: float


class FleetView:
    """See the module. `clock` gives monotonic seconds, `wall` Unix seconds."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._workers: dict[str, _Heard] = {}
        self._operator: tuple[OperatorHeartbeat, float] | None = None
        self._listening_since = clock()
        self._token_models: Mapping[str, str] = {}
        self._own_sentences: Mapping[str, str] = {}
        self.broker_trouble: Callable[[], str] = lambda: ""
        """Set by the flow: why there is no connection to the broker."""

    def listening(self) -> None:
        """A new connection begins to hear: silence counts from here."""
        self._listening_since = self._clock()

    def hear(self, message: Heartbeat | OperatorHeartbeat) -> set[str]:
        """Take in a heartbeat. Returns the models whose release window it changes."""
        if isinstance(message, OperatorHeartbeat):
            self._operator = (message, self._clock())
            return set()
        before = self._workers.get(message.worker)
        old = _windows(before.message) if before and self._fresh(before) else {}
        if message.gone:
            self._workers.pop(message.worker, None)
            new: dict[str, Window] = {}
        else:
            self._workers[message.worker] = _Heard(message, self._clock())
            new = _windows(message)
        return {model for model in old.keys() | new.keys() if old.get(model) != new.get(model)}

    def attribute(self, token_models: Mapping[str, str]) -> None:
        """Tell which model each held token of ours belongs to, for `in_flight`."""
        self._token_models = token_models

    def explain(self, sentences: Mapping[str, str]) -> None:
        """What the api itself knows about models whose tasks wait; it wins over the operator."""
        self._own_sentences = sentences

    def running_tokens(self) -> set[str]:
        return {token for heard in self._fresh_workers() for token in heard.running}

    def held_tokens(self) -> set[str]:
        """Tokens that a worker has taken and not answered, the running ones among them."""
        return {token for heard in self._fresh_workers() for token in (*heard.held, *heard.running)}

    def workers(self) -> list[WorkerView]:
        """All workers heard within 30 s, by pool and id."""
        self._forget_silent()
        views = [self._view(heard) for heard in self._workers.values()]
        return sorted(views, key=lambda view: (view.pool, view.id))

    def incarnations(self) -> dict[str, str]:
        """Worker -> its present life, for all heard within 30 s."""
        self._forget_silent()
        return {name: heard.message.incarnation for name, heard in self._workers.items()}

    def override_state(self, worker: str, model: str, wanted: Wanted) -> OverrideState:
        """What became of an override, in words, by the operator's last word."""
        silent = self.operator_seen_seconds()
        if self._operator is None or silent is None or silent > OPERATOR_SILENT_SECONDS:
            since = "" if silent is None else f" for {silent:.0f} s"
            return OverrideState(message=f"waits for the operator, which was not heard{since}")
        told = self._operator[0].overrides.get(worker, {}).get(model)
        if told is None or told.wanted != wanted:
            return OverrideState(message="the operator is being told")
        return told

    def revision_of(self, model: str, fingerprint: str) -> str | None:
        """The revision of a fresh, loaded copy made from this very spec."""
        for copy in self._ready_copies(model):
            if copy.fingerprint == fingerprint and copy.revision:
                return copy.revision
        return None

    def ready_consumers(self, model: str) -> int:
        return len(self._ready_copies(model))

    def window(self, model: str) -> Window:
        return window(self._ready_copies(model))

    def rate(self, model: str) -> float:
        """Pictures per second of all consumers of the model; 0 while nothing is measured."""
        return sum(best[1] for copy in self._ready_copies(model) if (best := copy.best_rate()))

    def operator_seen_seconds(self) -> float | None:
        """Seconds since the operator was last heard; None if never."""
        return None if self._operator is None else self._clock() - self._operator[1]

    def waiting_sentence(self, model: str) -> str:
        """Why this model's tasks wait, now."""
        if model in self._own_sentences:
            return self._own_sentences[model]
        said = self._operator[0].waiting.get(model) if self._operator else None
        return waiting.waiting_sentence(
            waiting.ModelFacts(
                model=model,
                broker_trouble=self.broker_trouble(),
                listening_seconds=self._clock() - self._listening_since,
                operator_age=self.operator_seen_seconds(),
                operator_sentence=said,
                consumers=self.ready_consumers(model),
                rate=self.rate(model),
            )
        )

    def _fresh(self, heard: _Heard) -> bool:
        return self._clock() - heard.at <= FRESH_SECONDS

    def _fresh_workers(self) -> list[Heartbeat]:
        return [heard.message for heard in self._workers.values() if self._fresh(heard)]

    def _ready_copies(self, model: str) -> list[Copy]:
        return [
            copy
            for worker in self._fresh_workers()
            for each in worker.copies
            for copy in each.both
            if copy.model == model and takes_work(copy) and not worker.draining
        ]

    def _forget_silent(self) -> None:
        now = self._clock()
        self._workers = {
            name: heard for name, heard in self._workers.items() if now - heard.at <= KEPT_SECONDS
        }

    def _view(self, heard: _Heard) -> WorkerView:
        message = heard.message
        held = [self._token_models.get(token) for token in {*message.held, *message.running}]
        return WorkerView(
            id=message.worker,
            incarnation=message.incarnation,
            pool=message.pool,
            node=message.host,
            device=message.device,
            device_name=message.device_name,
            memory_total=message.memory_total,
            memory_used=message.memory_used,
            copies=tuple(
                _copy_view(each, held.count(copy.model) if each is copy else 0)
                for copy in message.copies
                for each in copy.both
            ),
            cached=tuple(message.cached),
            disk=message.disk,
            draining=message.draining,
            fresh=self._fresh(heard),
            seen_at=self._wall() - (self._clock() - heard.at),
        )


def _windows(message: Heartbeat) -> dict[str, Window]:
    if message.draining:
        return {}
    return {
        copy.model: window(
            [each for c in message.copies if c.model == copy.model for each in c.both]
        )
        for copy in message.copies
    }


def _copy_view(copy: Copy, in_flight: int) -> CopyView:
    best = copy.best_rate()
    return CopyView(
        model=copy.model,
        state=copy.state,
        revision=copy.revision,
        memory=copy.memory_bytes,
        in_flight=in_flight,
        message=copy.message,
        download=copy.download,
        consuming=copy.consuming,
        rate=best[1] if best else None,
    )
