"""Fixtures that all rooms share: a real private RabbitMQ, and a fresh fleet name per test."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, overload

import pytest
from hypothesis import settings

from captionfleet.broker.link import Link, Session
from captionfleet.broker.names import Names
from captionfleet.broker.topology import declare_exchanges
from captionfleet.ids import new_nonce
from captionfleet_cli.rabbitmq import start_private_broker

T = TypeVar("T")
settings.register_profile("captionfleet", deadline=None)
settings.load_profile("captionfleet")

ROOT = Path(__file__).parent.parent
SHAPES = ROOT / "examples" / "shapes"
pytest_plugins = ["tests.cluster.fixtures"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs the broker, a browser or PostgreSQL belongs to the services tier."""
    for item in items:
        if {"broker_url", "browser", "postgres"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.services)


@pytest.fixture(scope="session")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A RabbitMQ of this test run alone, or the one a developer keeps running."""
    if kept := os.environ.get("CAPTIONFLEET_TEST_BROKER"):
        yield kept
        return
    broker = start_private_broker(tmp_path_factory.mktemp("rabbitmq"))
    try:
        broker.wait_until_ready(120)
        yield broker.url
    finally:
        broker.stop()


@pytest.fixture
def names() -> Names:
    """Names of a fleet that no other test uses."""
    return Names(f"test-{new_nonce()}")


@pytest.fixture
async def session(broker_url: str, names: Names) -> AsyncIterator[Session]:
    """A live session on the broker with the fleet's exchanges declared."""

    async def setup(session: Session) -> None:
        await declare_exchanges(session, names)

    link = Link(broker_url, "test", setup)
    running = asyncio.create_task(link.run())
    yield await link.connected()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@overload
async def eventually(
    look: Callable[[], Awaitable[T]], *, seconds: float = 30, what: str = ""
) -> T: ...


@overload
async def eventually(look: Callable[[], T], *, seconds: float = 30, what: str = "") -> T: ...


async def eventually(look: Callable[[], Any], *, seconds: float = 30, what: str = "") -> Any:
    """Wait until `look()` is truthy and return it; fail with the last value seen."""
    deadline = time.monotonic() + seconds
    while True:
        value = look()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or look}: {value!r}"
        await asyncio.sleep(0.02)
