"""What Prometheus reads on the metrics port. Names are a door kept from the original system."""

import os
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from captionfleet.messages import Copy
from captionfleet_worker.memory_of import resident_memory
from captionfleet_worker.process_tree import descendants, processor_seconds

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Meters:
    """Every metric of one worker, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        model = ["model"]
        self.seconds = self._histogram(
            "inference_duration_seconds", "Engine seconds per picture.", _BUCKETS
        )
        self.queue_wait = self._histogram(
            "captionfleet_worker_queue_wait_seconds",
            "Seconds of a task from its release to the broker until its engine began with it. The "
            "clocks of api and worker are compared: what they differ by is in it.",
            _BUCKETS,
        )
        self.load_seconds = self._histogram(
            "captionfleet_worker_load_seconds",
            "Seconds from the start of an engine until it could caption, downloads excluded.",
            (*_BUCKETS, 300, 600),
        )
        self.tokens = self._counter(
            "captionfleet_worker_tokens", "Tokens that models wrote into captions.", model
        )
        self.download_bytes = self._counter(
            "captionfleet_worker_download_bytes", "Bytes fetched from a hub.", model
        )
        self.redelivered = self._counter(
            "captionfleet_worker_redelivered",
            "Tasks that were delivered before to a consumer that did not answer.",
            model,
        )
        self.engine_restarts = self._counter(
            "captionfleet_worker_engine_restarts",
            "Engines started again after they had died or were killed.",
            model,
        )
        self.processed = self._counter("processed_messages", "Tasks captioned or failed.", model)
        self.errors = self._counter("processing_errors", "Tasks failed.", model)
        self.cpu = self._gauge(
            "worker_cpu_usage_percent",
            "CPU of the worker and all that it started, programs of own code too; 100 is one core.",
        )
        self.ram = self._gauge(
            "worker_ram_usage_percent",
            "Memory of the worker and all that it started; 100 is the cgroup's limit, else the "
            "host's memory.",
        )
        self.handed_back = self._counter(
            "captionfleet_worker_handed_back",
            "Tasks answered without an end: returned by a drain, or sent to the suspect lane.",
            ["model", "outcome"],
        )
        self.cancelled = self._counter(
            "captionfleet_worker_cancelled", "Tasks dropped because a person canceled them.", model
        )
        self.engine_ends = self._counter(
            "captionfleet_worker_engine_ends", "Engines that died or were killed for time.", model
        )
        self.unroutable = self._counter(
            "captionfleet_worker_unroutable_results", "Results whose results queue is gone.", model
        )
        self.malformed = self._counter(
            "captionfleet_worker_malformed_messages", "Deliveries that are no message of ours.", []
        )
        self.sessions = self._counter(
            "captionfleet_worker_sessions", "Connections made to the broker.", []
        )
        self.copies = self._gauge(
            "captionfleet_worker_copies",
            "Copies by their state: downloading, loading, ready, unloading or failed.",
            ["model", "state"],
        )
        self.copy_memory = self._gauge(
            "captionfleet_worker_copy_memory_bytes",
            "Measured memory of copies: of the GPU on a GPU worker, else main memory.",
            model,
        )
        self.batch_size = self._histogram(
            "captionfleet_worker_batch_size",
            "Pictures per batch.",
            (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
        )

    def tell_copies(self, views: Sequence[Copy]) -> None:
        """Show these copies and no others: a gauge would outlive what it tells of."""
        self.copies.clear()
        self.copy_memory.clear()
        for each in views:
            self.copies.labels(each.model, each.state.value).inc()
            self.copy_memory.labels(each.model).inc(each.memory_bytes or 0)

    def _histogram(self, name: str, words: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, words, ["model"], buckets=buckets, registry=self.registry)

    def _counter(self, name: str, words: str, labels: list[str]) -> Counter:
        return Counter(name, words, labels, registry=self.registry)

    def _gauge(self, name: str, words: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, words, labels, registry=self.registry)


class Usage:
    """Sums processor time and memory of this process and all below it, from sample to sample."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._spent = 0.0
        self._at: float | None = None

    def sample(self, memory_total: int, now: float) -> None:
        """`now`: a monotonic clock, in seconds. CPU is the mean since the last sample."""
        pids = {os.getpid(), *descendants(os.getpid())}
        # A process that ended stays in the sum by its parent, which waited for it.
        spent = sum(processor_seconds(pid) for pid in pids)
        if self._at is not None and now > self._at:
            busy = max(0.0, spent - self._spent) / (now - self._at)
            self._meters.cpu.set(round(100 * busy, 1))
        # Engines share what their fork-server imported: counted in full by none of them.
        resident = sum(_memory(pid) for pid in pids)
        self._meters.ram.set(round(100 * resident / memory_total, 2))
        self._spent, self._at = spent, now


def _memory(pid: int) -> int:
    try:
        return resident_memory(pid)
    except (OSError, ValueError, IndexError):  # it ended just now
        return 0
