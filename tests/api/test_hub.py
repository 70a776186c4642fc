"""Whether the hub can be reached: looked up beside the doors, never in a person's way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.conftest import eventually

from captionfleet_api.hub import OFFERS, Hub, Offer


@asynccontextmanager
async def hub_that_answers(status: bytes) -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def looked(endpoint: str) -> bool | None:
    hub = Hub(endpoint)
    watching = asyncio.create_task(hub.watch())
    await eventually(lambda: hub.reachable is not None)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return hub.reachable


@pytest.mark.parametrize(
    ("status", "reachable"), [(b"200 OK", True), (b"404 Not Found", True), (b"503 Busy", False)]
)
async def test_a_hub_that_answers_is_reachable(status: bytes, reachable: bool) -> None:
    async with hub_that_answers(status) as endpoint:
        assert await looked(endpoint) is reachable


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://", "nonsense"])
async def test_a_hub_that_is_not_there_is_unreachable(endpoint: str) -> None:
    assert await looked(endpoint) is False


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: offer.name)
def test_every_offer_is_a_valid_manifest(offer: Offer) -> None:
    assert offer.manifest().name == offer.name
