"""The api goes and comes back, in the middle of everything; pages go on without a reload."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from tests.api.console_stage import Stage, hand_over, picture_of, running_stage

from captionfleet.broker.names import Names


@pytest.fixture
async def mortal(tmp_path: Path, broker_url: str, names: Names) -> AsyncIterator[Stage]:
    """A stage of this test alone, whose api may be killed."""
    async with running_stage(tmp_path, broker_url, names) as stage:
        yield stage


async def test_a_grid_goes_on_after_the_api_was_killed(page: Page, mortal: Stage) -> None:
    mortal.script.holding = True
    job = await mortal.job("1.png", "2.png", models=["alpha"])
    await page.goto(f"{mortal.url}/jobs/{job}")
    await expect(page.get_by_text("running")).to_have_count(2)
    await page.evaluate("window.samepage = true")
    await mortal.kill()
    await expect(page.get_by_text("The server does not answer")).to_be_visible()
    await mortal.start()
    await expect(page.get_by_text("The server does not answer")).to_be_hidden()
    await mortal.release()
    await expect(page.locator(".caption")).to_have_count(2)
    await expect(page.locator(".job-progress")).to_contain_text("Done")
    assert await page.evaluate("window.samepage")


async def test_a_reload_keeps_the_grid(page: Page, mortal: Stage) -> None:
    job = await mortal.job("1.png", models=["alpha"])
    await page.goto(f"{mortal.url}/jobs/{job}")
    await expect(page.locator(".caption")).to_have_count(1)
    await mortal.kill()
    await mortal.start()
    await page.reload()
    await expect(page.locator(".caption")).to_have_count(1)


async def test_pictures_dropped_while_the_api_is_away_are_sent_later(
    page: Page, mortal: Stage
) -> None:
    await page.goto(mortal.url)
    await expect(page.get_by_role("checkbox", name="Alpha")).to_be_visible()
    await mortal.kill()
    await hand_over(page, {"patient.png": picture_of("patient")})
    await expect(page.get_by_text("1 on the way")).to_be_visible()
    await expect(page.get_by_text("The server does not answer")).to_be_visible()
    await mortal.start()
    await expect(page.get_by_text("1 ready")).to_be_visible()
