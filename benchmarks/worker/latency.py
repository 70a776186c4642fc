"""M7: one picture at a time through api and broker, minus the engine alone.

The floor is what the broker cannot do without: a confirmed publish of the picture, its delivery,
and the same for the answer. All three are measured in turn over the same pictures.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from benchmarks.bench_throughput import MANIFESTS, TINY, write_pictures
from benchmarks.fleet import running_fleet, wait_until_loaded
from benchmarks.worker.figures import load, read
from benchmarks.worker.in_process import order_for
from benchmarks.worker.setting import Setting
from benchmarks.worker.stage import connected

from captionfleet.broker.link import Delivery
from captionfleet.broker.names import Names
from captionfleet.broker.topology import (
    declare_exchanges,
    declare_model_queues,
    declare_results_queue,
)
from captionfleet.ids import new_nonce
from captionfleet_worker.engine_process import EngineProcess, Shot

_PICTURES = 40
_WARM = 5
_ANSWER = b"x" * 400
Way = Callable[[bytes], Awaitable[object]]


async def measure(setting: Setting, broker: str) -> list[dict[str, object]]:
    """With the tiny model, whatever the setting says: a large one would hide the way in noise."""
    values = {"weights": TINY, "tokens": setting.tokens, "batch": 8}
    place = setting.work / "fleet"
    async with AsyncExitStack() as stack:
        fleet = stack.enter_context(running_fleet(place, MANIFESTS % values, broker=broker))
        client = await stack.enter_async_context(fleet.client())
        await wait_until_loaded(client, {"measured"})
        spec = {
            "source": {"volume": {"path": str(TINY)}},
            "generation": {"maxNewTokens": setting.tokens},
        }
        order = order_for(spec, setting.work, setting.threads)
        engine = await EngineProcess.start(order, lambda *_: None)
        stack.push_async_callback(engine.stop)
        legs = await stack.enter_async_context(_legs(broker))
        ways: dict[str, Way] = {
            "through": lambda picture: _through(client, picture),
            "direct": lambda picture: engine.run([Shot(picture, "")], {}),
            "legs": legs,
        }
        return [_line(await _in_turn(ways, setting))]


async def _in_turn(ways: dict[str, Way], setting: Setting) -> dict[str, list[float]]:
    """Milliseconds per picture, without the first few."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for picture in read(write_pictures(setting.work / "ones", _PICTURES + _WARM, 9, (384, 288))):
        for name, way in ways.items():
            began = time.perf_counter()
            await way(picture)
            spent[name].append(1000 * (time.perf_counter() - began))
    return {name: times[_WARM:] for name, times in spent.items()}


def _line(spent: dict[str, list[float]]) -> dict[str, object]:
    middle = {name: statistics.median(times) for name, times in spent.items()}
    added = middle["through"] - middle["direct"]
    return {
        "metric": "M7 one picture through api and broker, minus the engine alone", "model": "tiny",
        "batches": [1], "rounds": 1,
        "added_p50_ms": round(added, 1), "at_most_ms": 10,
        "of_the_broker_legs": round(added / middle["legs"], 2), "at_most": 1.5,
        "through_p50_ms": round(middle["through"], 1),
        "direct_p50_ms": round(middle["direct"], 1), "legs_p50_ms": round(middle["legs"], 1),
        "pictures": len(spent["legs"]), "load": load(),
    }  # fmt: skip


async def _through(client: httpx.AsyncClient, picture: bytes) -> None:
    """Upload, normalizing and database included."""
    files = {"file": ("one.jpg", picture, "image/jpeg")}
    answer = await client.post("/captions", files=files, data={"models": "measured"})
    answer.raise_for_status()
    if answer.status_code == 202:
        raise RuntimeError("not captioned within the wait")


@asynccontextmanager
async def _legs(broker: str) -> AsyncIterator[Way]:
    """There and back through two queues like the fleet's own, with nobody thinking between."""
    names, arrived = Names(f"legs-{new_nonce()}"), asyncio.Event()
    async with connected(broker) as near, connected(broker) as far:
        session = await near.connected()
        await declare_exchanges(session, names)
        await declare_model_queues(session, names, "m")
        replies = names.results_queue("legs")
        await declare_results_queue(session, names, replies)

        async def echo(delivery: Delivery) -> None:
            await far.publish(names.results, replies, _ANSWER)
            await delivery.ack()

        async def take(delivery: Delivery) -> None:
            await delivery.ack()
            arrived.set()

        await (await far.connected()).consume(names.model_queue("m"), echo, prefetch=1)
        await session.consume(replies, take, prefetch=1)

        async def there_and_back(picture: bytes) -> None:
            arrived.clear()
            await near.publish(names.tasks, names.model_key("m"), picture)
            await arrived.wait()

        yield there_and_back
