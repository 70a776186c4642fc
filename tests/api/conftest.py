"""A real Chromium, one for all tests of the console, with a fresh profile per test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect
from tests.api.console_stage import Stage, running_stage
from tests.api.postgres import Postgres, private_postgres

from captionfleet.broker.names import Names
from captionfleet.ids import new_nonce

CHROMIUM = "/usr/bin/chromium"
expect.set_options(timeout=30_000)
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        await browser.close()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield context
    await context.close()


@pytest.fixture
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    """A tab; an error in the page's own code fails the test."""
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []


@pytest.fixture(scope="module")
async def lasting_stage(
    tmp_path_factory: pytest.TempPathFactory, broker_url: str
) -> AsyncIterator[Stage]:
    """A real api on the real broker, with a worker whose answers the test decides."""
    folder: Path = tmp_path_factory.mktemp("console")
    async with running_stage(folder, broker_url, Names(f"test-{new_nonce()}")) as stage:
        yield stage


@pytest.fixture
async def stage(lasting_stage: Stage) -> AsyncIterator[Stage]:
    """The same, with nothing left of what an earlier test had the worker do."""
    lasting_stage.script.reset()
    yield lasting_stage
    await lasting_stage.release()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this test run alone."""
    with private_postgres() as postgres:
        yield postgres


@pytest.fixture
async def postgres_url(postgres: Postgres) -> AsyncIterator[str]:
    """The address of a PostgreSQL database with our tables and nothing in them."""
    async with postgres.database() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a database: the test runs once on each of both kinds."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path}/captionfleet.db"
        return
    async with request.getfixturevalue("postgres").database() as url:
        yield url
