"""/healthz, /readyz and /metrics of the operator."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from captionfleet_operator.planner import Plan, World

Answer = tuple[bool, str]
"""Whether all is well, and a sentence."""


class Meters:
    """Every metric of the operator, in a registry of its own."""

    def __init__(self, namespace: str) -> None:
        self.registry = CollectorRegistry()
        self._namespace = namespace
        pool = ["namespace", "pool"]
        self.backlog = self._gauge(
            "captionfleet_pool_backlog_seconds",
            "Seconds of work that wait for a pool, for one worker; scale on it.",
            pool,
        )
        self.workers = self._gauge(
            "captionfleet_pool_workers", "Workers of a pool: wanted, and heard from.",
            [*pool, "state"],
        )  # fmt: skip
        self.ready = self._gauge(
            "captionfleet_model_ready", "1 if a model's Ready condition is True, else 0.",
            ["namespace", "model"],
        )  # fmt: skip
        self.queued = self._gauge(
            "captionfleet_model_tasks", "Tasks of a model that wait or are worked on.",
            ["namespace", "model"],
        )  # fmt: skip
        self.leading = self._gauge(
            "captionfleet_operator_leading", "1 while this operator is the one at work.", []
        )
        self.turns = Counter(
            "captionfleet_operator_turns", "Turns of observing, planning and acting.",
            registry=self.registry,
        )  # fmt: skip
        self.writes = Counter(
            "captionfleet_operator_writes", "Writes to the API server, by what was written.",
            ["what"], registry=self.registry,
        )  # fmt: skip

    def take(self, world: World, plan: Plan) -> None:
        """The numbers of one turn."""
        self.turns.inc()
        for gauge in (self.backlog, self.workers, self.ready, self.queued):
            gauge.clear()
        for name, status in plan.pool_statuses.items():
            self.backlog.labels(self._namespace, name).set(plan.pools[name].work_seconds)
            self.workers.labels(self._namespace, name, "wanted").set(status.desired_replicas)
            self.workers.labels(self._namespace, name, "ready").set(status.ready_replicas)
        for name, model in plan.model_statuses.items():
            ready = any(c.type == "Ready" and c.status == "True" for c in model.conditions)
            self.ready.labels(self._namespace, name).set(ready)
            self.queued.labels(self._namespace, name).set(world.total(name))

    def _gauge(self, name: str, words: str, labels: list[str]) -> Gauge:
        return Gauge(name, words, labels, registry=self.registry)


async def serve_doors(
    host: str,
    port: int,
    meters: Meters,
    alive: Callable[[], Answer],
    ready: Callable[[], Answer],
) -> web.AppRunner:
    """Raises OSError."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(alive())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(ready())

    async def metrics(_: web.Request) -> web.Response:
        body = generate_latest(meters.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


def _answer(answer: Answer) -> web.Response:
    well, sentence = answer
    return web.Response(status=200 if well else 503, text=f"{sentence}\n")
