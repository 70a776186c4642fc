"""What a person asks of one worker on the workers page, by mouse and by keyboard."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Locator, Page, expect
from tests.api.console_stage import MODELS, Stage

from captionfleet.messages import OperatorHeartbeat, OverrideState, Wanted


@pytest.fixture
async def row(page: Page, stage: Stage) -> AsyncIterator[Locator]:
    """The row of alpha on the stage's worker. In the end nothing is asked any more."""
    await page.goto(f"{stage.url}/workers")
    row = page.get_by_role("row").filter(has_text="alpha")
    await expect(row).to_contain_text("ready")
    yield row
    stage.worker.models = tuple(MODELS)
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
    return row.get_by_role("menuitem").filter(has=row.page.get_by_text(name, exact=True))


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


async def test_a_model_is_downloaded_then_loaded_and_the_page_tells_how_far_it_is(
    page: Page, stage: Stage, row: Locator
) -> None:
    stage.worker.models = ("alpha", "beta")
    gamma = page.get_by_role("row").filter(has=page.locator("b", has_text="gamma"))
    await expect(gamma).to_have_count(0)
    await page.get_by_label("Another model").select_option("gamma")
    await expect(gamma).to_contain_text("not here")
    for name, state, told in (
        ("Download", Wanted.CACHED, "downloading, 12 of 64 MB"),
        ("Load", Wanted.LOADED, "loading, 3 s so far"),
    ):
        await gamma.get_by_role("button", name="What to do with gamma").click()
        await item(gamma, name).click()
        await expect(gamma).to_contain_text(f"asked: {state}")
        assert await asked(stage) == {"gamma": state}
        await operator_says(stage, OverrideState(wanted=state, message=told))
        await expect(gamma.locator(".muted", has_text=told)).to_be_visible()


async def test_a_refused_wish_stands_out_with_its_reason(
    page: Page, stage: Stage, row: Locator
) -> None:
    await menu(row).click()
    await item(row, "Load").click()
    await expect(row).to_contain_text("asked: loaded")
    told = "needs 14 GB, the worker has 2 GB free: unload another model"
    await operator_says(stage, OverrideState(wanted=Wanted.LOADED, message=told, refused=True))
    await expect(row.locator(".failure")).to_contain_text(told)


async def operator_says(stage: Stage, state: OverrideState) -> None:
    """The same of every model that something is asked about."""
    beat = OperatorHeartbeat(
        operator="operator", incarnation="o", waiting={},
        overrides={stage.worker.id: dict.fromkeys(await asked(stage), state)},
    )  # fmt: skip
    await stage.worker.link.publish(
        stage.worker.names.heartbeats, "", beat.encode(), mandatory=False, persistent=False
    )
