"""What a worker answers to whoever keeps it running."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from captionfleet_worker.metrics import Meters
from captionfleet_worker.metrics_port import serve_port
from captionfleet_worker.probes import Health, probe

FRESH = Health(started=False, draining=False, trouble="the broker cannot be reached: refused")
WORKING = Health(started=True, draining=False, trouble="")
ALONE = Health(started=True, draining=False, trouble="the connection to the broker was lost")
LEAVING = Health(started=True, draining=True, trouble="")


@pytest.mark.parametrize(
    ("health", "good"),
    [
        (FRESH, {"/livez"}),
        (WORKING, {"/livez", "/startupz", "/readyz"}),
        (ALONE, {"/livez", "/startupz", "/readyz"}),
        (LEAVING, {"/livez", "/startupz"}),
    ],
)
def test_each_probe_asks_for_something_else(health: Health, good: set[str]) -> None:
    told = {path: probe(path, health) for path in ("/livez", "/startupz", "/readyz")}
    assert {path for path, each in told.items() if each and each.good} == good
    assert all(each and each.sentence for each in told.values())


def test_a_no_says_why() -> None:
    not_started, leaving = probe("/startupz", FRESH), probe("/readyz", LEAVING)
    assert not_started and "cannot be reached: refused" in not_started.sentence
    assert leaving and leaving.sentence.startswith("draining")
    fresh = probe("/readyz", Health(started=False, draining=False, trouble=""))
    assert fresh and fresh.sentence.endswith("the first one is on its way")


def test_what_is_no_probe_is_none() -> None:
    assert probe("/healthz", WORKING) is None


class Port:
    """A worker's port whose health a test decides."""

    url = ""
    health = FRESH


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    made = Port()
    server = await serve_port(Meters().registry, lambda: made.health, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()


async def test_the_port_answers_with_a_status_and_a_sentence(port: Port) -> None:
    async with httpx.AsyncClient() as client:
        early = await client.get(f"{port.url}/startupz")
        alive = await client.get(f"{port.url}/livez")
        port.health = WORKING
        started = await client.get(f"{port.url}/startupz?from=kubelet")
    assert (early.status_code, alive.status_code, started.status_code) == (503, 200, 200)
    assert early.text == (
        "not started: no heartbeat was confirmed by the broker: "
        "the broker cannot be reached: refused\n"
    )
    assert early.headers["content-type"].startswith("text/plain")


async def test_the_port_knows_nothing_else(port: Port) -> None:
    async with httpx.AsyncClient() as client:
        other = await client.get(f"{port.url}/other")
        written = await client.post(f"{port.url}/livez")
        head = await client.head(f"{port.url}/metrics")
    assert (other.status_code, written.status_code) == (404, 404)
    assert "/readyz" in other.text
    assert head.status_code == 200 and head.text == ""


async def test_a_client_that_speaks_no_http_harms_nobody(port: Port) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port.url.rpartition(":")[2]))
    writer.write(b"x" * 20_000)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await writer.drain()
        await reader.readexactly(1)
    writer.close()
