"""What a person asks of one worker on the workers page, by mouse and by keyboard."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Locator, Page, expect
from tests.api.console_stage import Stage


@pytest.fixture
async def row(page: Page, stage: Stage) -> AsyncIterator[Locator]:
    """The row of alpha on the stage's worker. In the end nothing is asked any more."""
    await page.goto(f"{stage.url}/workers")
    row = page.get_by_role("row").filter(has_text="alpha")
    await expect(row).to_contain_text("ready")
    yield row
    async with stage.client() as client:
        for model in ("alpha", "beta", "gamma"):
            await client.delete(f"/workers/{stage.worker.id}/overrides/{model}")


async def asked(stage: Stage) -> dict[str, str]:
    async with stage.client() as client:
        [worker] = (await client.get("/workers")).json()["items"]
        return {name: each["state"] for name, each in worker["overrides"].items()}


def menu(row: Locator) -> Locator:
    return row.get_by_role("button", name="What to do with alpha")


def item(row: Locator, name: str) -> Locator:
    return row.get_by_role("menuitem").filter(has=row.page.locator("b", has_text=name))


async def test_a_model_is_unloaded_and_released_by_keyboard(
    page: Page, stage: Stage, row: Locator
) -> None:
    await menu(row).press("Enter")
    await expect(item(row, "Download")).to_be_focused()
    for _ in range(2):
        await page.keyboard.press("ArrowDown")
    await expect(item(row, "Unload")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(row).to_contain_text("asked: cached")
    await expect(row).to_contain_text("waits for the operator")
    assert await asked(stage) == {"alpha": "cached"}
    await menu(row).press("Enter")
    await page.keyboard.press("End")
    await page.keyboard.press("Enter")
    await expect(row).not_to_contain_text("asked")
    assert await asked(stage) == {}


async def test_what_makes_no_sense_says_why_and_does_nothing(
    page: Page, stage: Stage, row: Locator
) -> None:
    await menu(row).click()
    await expect(item(row, "Download")).to_contain_text("it is loaded, so its files are here")
    await expect(item(row, "Download")).to_have_attribute("aria-disabled", "true")
    await expect(item(row, "Release")).to_contain_text("nothing is asked of this worker about it")
    await item(row, "Download").click(force=True)
    await expect(item(row, "Download")).to_be_visible()
    assert await asked(stage) == {}


async def test_eviction_is_asked_for_twice(page: Page, stage: Stage, row: Locator) -> None:
    await menu(row).click()
    await item(row, "Evict").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("its downloads are deleted")
    await dialog.get_by_role("button", name="Keep it").click()
    await expect(dialog).to_be_hidden()
    assert await asked(stage) == {}
    await menu(row).click()
    await item(row, "Evict").click()
    await dialog.get_by_role("button", name="Evict it").click()
    await expect(row).to_contain_text("asked: absent")
    assert await asked(stage) == {"alpha": "absent"}
