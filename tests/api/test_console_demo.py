"""The demo's own words: toy models, sample pictures, and real models to fetch."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page, expect
from tests.api.console_stage import Stage, running_stage
from tests.conftest import SHAPES
from tests.fakehub import FakeHub

from captionfleet.broker.names import Names


@asynccontextmanager
async def demo(folder: Path, broker_url: str, names: Names, hub: str) -> AsyncIterator[Stage]:
    settings = {"CAPTIONFLEET_DEMO": "1", "HF_ENDPOINT": hub}
    async with running_stage(folder, broker_url, names, **settings) as stage:
        pictures = stage.folder / "catalog" / "pictures"
        pictures.mkdir()
        for name in ("shapes-01.png", "photo-orientation-6.jpg"):
            shutil.copy(SHAPES / "pictures" / name, pictures)
        yield stage


async def test_without_a_hub_the_samples_are_one_click_away(
    page: Page, tmp_path: Path, broker_url: str, names: Names
) -> None:
    async with demo(tmp_path, broker_url, names, "http://127.0.0.1:9") as stage:
        await page.goto(stage.url)
        await expect(page.get_by_text("they know only colored shapes")).to_be_visible()
        await expect(page.get_by_text("No model hub can be reached")).to_be_visible()
        await page.get_by_role("button", name="Try the sample pictures").click()
        await page.get_by_role("button", name="Caption 2 pictures with 3 models").click()
        await expect(page.locator(".caption")).to_have_count(6)


async def test_with_a_hub_a_real_model_is_one_click_away(
    page: Page, tmp_path: Path, broker_url: str, names: Names
) -> None:
    with FakeHub() as hub:
        async with demo(tmp_path, broker_url, names, hub.url) as stage:
            await page.goto(stage.url)
            offer = page.get_by_role("listitem").filter(has_text="Fetch BLIP base")
            await expect(offer).to_contain_text("MB")
            await offer.get_by_role("button").click()
            await expect(page.get_by_role("checkbox", name="BLIP base")).to_be_visible()
            assert (stage.folder / "catalog" / "managed").is_dir()
