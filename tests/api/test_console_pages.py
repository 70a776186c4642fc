"""What every page has, and the pages that list jobs, models and workers."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, expect
from tests.api.console_stage import Stage, running_stage
from tests.api.flow_parts import copy_of

from captionfleet.broker.names import Names
from captionfleet.messages import CopyState, Disk, Download

PAGES = ("/", "/jobs", "/models", "/workers")


@pytest.fixture
async def guarded(tmp_path: Path, broker_url: str, names: Names) -> AsyncIterator[Stage]:
    """A stage behind a token, with a broken manifest in its catalog."""
    token = {"CAPTIONFLEET_TOKEN": "a-token-for-tests"}
    async with running_stage(tmp_path, broker_url, names, **token) as stage:
        yield stage


async def test_jobs_are_listed_newest_first_and_lead_to_their_grid(
    page: Page, stage: Stage
) -> None:
    await stage.job("x.png", name="the older one")
    await stage.job("x.png", name="the newer one")
    await page.goto(f"{stage.url}/jobs")
    names = page.locator(".job-name")
    await expect(names.nth(0)).to_have_text("the newer one")
    await expect(names.nth(1)).to_have_text("the older one")
    await page.get_by_role("link", name="the newer one").click()
    await expect(page.get_by_role("heading", name="the newer one")).to_be_visible()


async def test_models_tell_state_and_manifest(page: Page, stage: Stage) -> None:
    stage.say("alpha", phase="Failed", message="no weights there: add model.safetensors",
              cachedOn=["w-1"])  # fmt: skip
    await page.goto(f"{stage.url}/models")
    card = page.locator(".card").filter(has_text="Alpha")
    await expect(card).to_contain_text("Failed")
    await expect(card).to_contain_text("no weights there: add model.safetensors")
    await expect(card).to_contain_text("w-1")
    await card.get_by_role("button", name="Manifest").click()
    await expect(page.get_by_role("dialog")).to_contain_text("repo: somebody/alpha")


async def test_workers_tell_memory_copies_and_cache(page: Page, stage: Stage) -> None:
    await page.goto(f"{stage.url}/workers")
    card = page.locator(".card").filter(has_text=stage.worker.id)
    await expect(card).to_contain_text("serving")
    await expect(card.get_by_role("meter")).to_have_count(1)
    await expect(card.get_by_role("row").filter(has_text="alpha")).to_contain_text("ready")


async def test_a_download_is_a_bar_with_megabytes_speed_and_time_left(
    page: Page, stage: Stage
) -> None:
    told = {"worker": "w-1", "bytesDone": 1_200_000_000, "bytesTotal": 3_400_000_000,
            "bytesPerSecond": 35_000_000, "secondsLeft": 62}  # fmt: skip
    stage.say("alpha", phase="Downloading", message="downloading on w-1", download=told)
    await page.goto(f"{stage.url}/models")
    card = page.locator(".card").filter(has_text="Alpha")
    await expect(card.get_by_role("progressbar", name="Download of alpha")).to_be_visible()
    await expect(card).to_contain_text("1.2 of 3.4 GB at 35 MB/s, 62 s left")


async def test_a_worker_shows_its_downloads_and_the_disk_they_go_to(
    page: Page, stage: Stage
) -> None:
    half = Download(files_done=1, files_total=2, bytes_done=5_000_000, bytes_total=10_000_000)
    copy = copy_of("beta", state=CopyState.DOWNLOADING, message="fetching", download=half)
    stage.worker.loading.append(copy)
    stage.worker.disk = Disk(cache_bytes=2 * 10**9, free_bytes=10**11, room_bytes=4 * 10**10)
    try:
        await page.goto(f"{stage.url}/workers")
        card = page.locator(".card").filter(has_text=stage.worker.id)
        await expect(card.get_by_role("progressbar", name="Download of beta")).to_be_visible()
        await expect(card).to_contain_text("5.0 of 10.0 MB")
        await expect(card).to_contain_text("Downloads take 2.0 GB; there is room for 40.0 GB more.")
    finally:
        stage.worker.loading.clear()


async def test_the_token_opens_the_console_once_and_for_all(page: Page, guarded: Stage) -> None:
    answer = await page.goto(guarded.url)
    assert answer and answer.status == 401
    await page.goto(f"{guarded.url}/?token=a-token-for-tests")
    assert urlsplit(page.url).query == ""
    await expect(page.get_by_role("checkbox", name="Alpha")).to_be_visible()
    await page.goto(f"{guarded.url}/workers")
    await expect(page.get_by_text(guarded.worker.id)).to_be_visible()


async def test_a_refused_manifest_is_said_on_every_page(page: Page, stage: Stage) -> None:
    wrong = stage.folder / "catalog" / "wrong.yaml"
    wrong.write_text(
        "apiVersion: captionfleet.io/v1alpha1\nkind: CaptionModel\n"
        "metadata: {name: wrong}\nspec: {sauce: x}\n"
    )
    try:
        await page.goto(f"{stage.url}/jobs")
        await expect(page.locator(".banner").filter(has_text="spec.sauce")).to_be_visible()
    finally:
        wrong.unlink()
    await expect(page.locator(".banner").filter(has_text="spec.sauce")).to_be_hidden(timeout=20000)


async def test_a_silent_operator_is_said(page: Page, stage: Stage) -> None:
    await page.goto(stage.url)
    await expect(page.locator(".banner").filter(has_text="operator")).to_be_visible(timeout=30000)


async def test_nothing_comes_from_elsewhere(page: Page, stage: Stage) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    for address in PAGES:
        await page.goto(stage.url + address)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert hosts == {urlsplit(stage.url).netloc}


async def test_pages_are_told_to_load_from_here_alone(page: Page, stage: Stage) -> None:
    answer = await page.goto(stage.url)
    assert answer and answer.headers["content-security-policy"].startswith("default-src 'self'; ")


async def test_an_unknown_address_leads_back(page: Page, stage: Stage) -> None:
    answer = await page.goto(f"{stage.url}/nowhere")
    assert answer and answer.status == 404
    await page.get_by_role("link", name="Make a new comparison").click()
    await expect(page.get_by_role("heading", name="Pictures")).to_be_visible()


async def test_the_colors_follow_the_system_until_switched_and_stay_so(
    browser: Browser, stage: Stage
) -> None:
    page = await browser.new_page(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    await page.goto(stage.url)
    dark = await page.evaluate(background)
    await page.get_by_role("button", name="Colors: as the system").click()
    light = await page.evaluate(background)
    await page.goto(f"{stage.url}/jobs")
    assert light == await page.evaluate(background) != dark
    await page.close()


async def test_a_phone_shows_everything_without_scrolling_sideways(
    browser: Browser, stage: Stage
) -> None:
    job = await stage.job("a-rather-long-file-name-of-a-picture.png", models=["alpha", "beta"])
    context = await browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = await context.new_page()
    for address in (*PAGES, f"/jobs/{job}"):
        await page.goto(stage.url + address)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect()\
            .right > 361 && !e.closest('.unseen')).map(e => e.className)"
        assert await page.evaluate(wide) == []
    await expect(page.locator(".grid.cards .caption")).to_have_count(2)
    await context.close()


async def test_every_control_has_a_name(page: Page, stage: Stage) -> None:
    job = await stage.job("named.png")
    for address in (*PAGES, f"/jobs/{job}"):
        await page.goto(stage.url + address)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        nameless = "[...document.querySelectorAll('button, a[href], input')].filter(e =>\
            !(e.ariaLabel || e.innerText?.trim() || e.labels?.length)).map(e => e.outerHTML)"
        assert await page.evaluate(nameless) == []


async def test_the_skip_link_leads_to_the_content(page: Page, stage: Stage) -> None:
    await page.goto(f"{stage.url}/models")
    await expect(page.get_by_role("heading", name="Models")).to_be_visible()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.tagName") == "MAIN"


async def test_a_tab_costs_the_server_no_socket(page: Page, stage: Stage) -> None:
    async with page.expect_websocket() as socket:
        await page.goto(f"{stage.url}/jobs")
    opened = await socket.value
    if not opened.is_closed():
        await opened.wait_for_event("close")
