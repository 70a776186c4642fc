"""A model of one's own in the console: dropped, checked beside its lines, changed, rolled back."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, expect
from tests.api.console_stage import Stage, hand_over, running_stage
from tests.api.test_custom_upload import CODE

from captionfleet.broker.names import Names

BROKEN = CODE.replace("load(self)", "load(self")


@pytest.fixture
async def fresh(page: Page, stage: Stage) -> Page:
    await page.goto(f"{stage.url}/models")
    await page.get_by_role("link", name="Your own model").click()
    await expect(page.get_by_text("Drop a Python file anywhere")).to_be_visible()
    return page


@pytest.fixture
async def shown(page: Page, stage: Stage) -> AsyncIterator[Page]:
    """The page of a model with two versions; the model goes with the test."""
    async with stage.client() as client:
        for code in (CODE, CODE.replace("line", "word")):
            body = {"files": [{"path": "liner.py", "content": code}], "kwargs": {}}
            assert (await client.post("/models/custom", json=body)).is_success
        await page.goto(f"{stage.url}/models/liner/code")
        await expect(checked(page)).to_be_visible()
        yield page
        await client.delete("/models/liner")


def code(page: Page) -> Locator:
    return page.get_by_role("textbox", name=re.compile("^Code of"))


def checked(page: Page) -> Locator:
    return page.get_by_text(re.compile("Checked: .* can be the model"))


async def of_model(stage: Stage, name: str) -> Any:
    async with stage.client() as client:
        return (await client.get(f"/models/{name}")).json()["spec"]["custom"]


async def test_a_dropped_file_is_checked_and_uploaded(fresh: Page, stage: Stage) -> None:
    await hand_over(fresh, {"dropped.py": CODE.encode()})
    await expect(code(fresh)).to_have_value(CODE)
    await expect(checked(fresh)).to_contain_text("dropped:Liner can be the model dropped")
    await fresh.get_by_role("button", name="Upload").click()
    await expect(fresh.get_by_role("heading", name="dropped")).to_be_visible()
    await expect(fresh).to_have_url(f"{stage.url}/models/dropped/code")
    await expect(fresh.locator(".version")).to_contain_text("in use")
    assert (await of_model(stage, "dropped"))["files"] == [{"path": "dropped.py", "content": CODE}]


async def test_a_mistake_stands_beside_its_line_and_is_reached_by_a_click(fresh: Page) -> None:
    await hand_over(fresh, {"broken.py": BROKEN.encode()})
    line = fresh.locator(".code-line.bad")
    await expect(line).to_contain_text("8")
    await expect(line).to_contain_text("not valid Python")
    await expect(fresh.get_by_role("button", name="Upload")).to_have_attribute(
        "aria-disabled", "true"
    )
    await fresh.get_by_role("button", name="broken.py, line 8").click()
    await expect(code(fresh)).to_be_focused()
    await fresh.keyboard.press("End")
    await fresh.keyboard.press("ArrowLeft")
    await fresh.keyboard.type(")")
    await expect(checked(fresh)).to_be_visible()
    await expect(line).to_have_count(0)


@pytest.mark.parametrize("event", ["drop", "paste"])
async def test_what_is_no_python_file_is_told(fresh: Page, event: str) -> None:
    await hand_over(fresh, {"notes.txt": b"words"}, event=event)
    await expect(fresh.get_by_text("notes.txt is no Python file")).to_be_visible()


async def test_text_is_pasted_and_sent_without_a_mouse(fresh: Page, stage: Stage) -> None:
    await fresh.evaluate("text => navigator.clipboard.writeText(text)", CODE)
    await fresh.get_by_role("link", name="Models").first.focus()
    await fresh.keyboard.press("Control+V")
    await expect(checked(fresh)).to_contain_text("my_model:Liner")
    await fresh.get_by_label("Name", exact=False).first.fill("pasted")
    await expect(checked(fresh)).to_contain_text("the model pasted")
    await fresh.keyboard.press("Control+Enter")
    await expect(fresh).to_have_url(f"{stage.url}/models/pasted/code")


async def test_an_example_is_a_start(fresh: Page) -> None:
    await fresh.get_by_role("button", name="Start from an example").click()
    await expect(checked(fresh)).to_contain_text("brightness:Brightness")


async def test_arguments_are_offered_judged_and_saved(shown: Page, stage: Stage) -> None:
    await expect(shown.get_by_role("button", name="Nothing has changed")).to_be_visible()
    await shown.get_by_role("button", name="mood = calm").click()
    await expect(shown.get_by_label("Value of mood")).to_be_focused()
    await shown.get_by_label("Value of mood").fill("gay")
    await shown.get_by_role("button", name="Argument", exact=True).click()
    await shown.get_by_label("Name of argument 2").fill("size")
    await expect(shown.get_by_text("takes no size; it takes mood")).to_have_count(2)
    await shown.get_by_role("button", name="Remove size").click()
    await shown.get_by_role("button", name="Save arguments as version 3").click()
    await expect(shown.locator(".version").first).to_contain_text("arguments changed")
    assert (await of_model(stage, "liner"))["kwargs"] == {"mood": "gay"}


async def test_changed_code_is_the_next_version(shown: Page, stage: Stage) -> None:
    await code(shown).fill(CODE.replace("line", "verse"))
    await shown.get_by_role("button", name=re.compile("Upload as version")).click()
    await expect(shown.locator(".version").first).to_contain_text("uploaded")
    await expect(shown.get_by_role("button", name="Nothing has changed")).to_be_visible()
    assert "verse" in (await of_model(stage, "liner"))["files"][0]["content"]


async def test_a_version_tells_its_author_and_when_it_was_made(shown: Page, stage: Stage) -> None:
    async with stage.client() as client:
        versions = (await client.get("/models/custom/liner/versions")).json()["items"]
    for place, version in enumerate(versions[:2]):
        row = shown.locator(".version").nth(place)
        await expect(row).to_contain_text(f"by {version['author']},")
        told = row.locator("time")
        await expect(told).to_have_attribute("datetime", version["created_at"])
        await expect(told).to_contain_text(re.compile("ago|now"))


async def test_a_version_tells_its_difference_and_is_rolled_back_by_keys(
    shown: Page, stage: Stage
) -> None:
    newest, before = shown.locator(".version").nth(0), shown.locator(".version").nth(1)
    await newest.get_by_role("button", name="What changed").press("Enter")
    diff = newest.locator(".diff")
    await expect(diff.locator(".removed")).to_contain_text("one {self.mood} line")
    await expect(diff.locator(".added")).to_contain_text("one {self.mood} word")
    number = (await before.get_by_role("heading").inner_text()).split()[-1]
    await before.get_by_role("button", name="Roll back").press("Enter")
    await expect(newest).to_contain_text(f"back to version {number}")
    await expect(code(shown)).to_have_value(CODE)
    assert (await of_model(stage, "liner"))["files"][0]["content"] == CODE


async def test_a_deleted_model_comes_back_from_its_versions(shown: Page, stage: Stage) -> None:
    async with stage.client() as client:
        await client.delete("/models/liner")
    await expect(shown.get_by_text("There is no such model any more")).to_be_visible()
    await expect(shown.get_by_role("button", name=re.compile("Upload as version"))).to_be_enabled()
    await shown.get_by_role("button", name=re.compile("Roll back")).first.click()
    await expect(shown.get_by_text("There is no such model any more")).to_be_hidden()
    assert (await of_model(stage, "liner"))["entrypoint"] == "liner:Liner"


async def test_a_model_without_uploaded_code_says_where_to_change_it(
    page: Page, stage: Stage
) -> None:
    await page.goto(f"{stage.url}/models/alpha/code")
    await expect(page.get_by_role("alert")).to_contain_text("came with a manifest is changed there")
    await expect(page.get_by_text("Drop a Python file")).to_be_hidden()


async def test_where_no_code_is_taken_there_is_no_way_to_it(
    page: Page, tmp_path: Path, broker_url: str, names: Names
) -> None:
    off = {"CAPTIONFLEET_CUSTOM_CODE": "false"}
    async with running_stage(tmp_path, broker_url, names, **off) as stage:
        await page.goto(f"{stage.url}/models")
        await expect(page.locator(".card")).to_have_count(3)
        await expect(page.get_by_role("link", name="Your own model")).to_have_count(0)
        await page.goto(f"{stage.url}/models/code")
        await expect(page.get_by_text("This installation takes no code")).to_be_visible()
        await expect(page.get_by_text("Drop a Python file")).to_be_hidden()


async def test_a_phone_shows_it_all_without_scrolling_sideways(
    browser: Browser, stage: Stage
) -> None:
    context = await browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = await context.new_page()
    await page.goto(f"{stage.url}/models/code")
    await hand_over(page, {"a_rather_long_name_of_a_file.py": BROKEN.encode()})
    await expect(page.locator(".code-line.bad")).to_be_visible()
    wide = "[...document.querySelectorAll('main, .list')].some(e => e.scrollWidth > e.clientWidth)"
    assert not await page.evaluate(wide)
    await context.close()
