"""A job's page: cells fill live, stars and columns keep, and ten thousand rows stay light."""

import asyncio
import csv
import re
from pathlib import Path

from playwright.async_api import Locator, Page, Route, expect
from tests.api.console_stage import Stage

HEADS = ".grid-head .head strong"


async def open_job(page: Page, stage: Stage, job: str) -> None:
    await page.goto(f"{stage.url}/jobs/{job}")
    await expect(page.locator(".grid-row").first).to_be_visible()


def cell(page: Page, picture: str, column: int) -> Locator:
    """The cell of a picture in the column'th column shown."""
    row = page.get_by_role("row").filter(has_text=picture)
    return row.get_by_role("gridcell").nth(column - 1)


async def test_a_cell_goes_from_queued_to_running_to_its_caption(page: Page, stage: Stage) -> None:
    stage.script.holding = True
    await page.set_viewport_size({"width": 1280, "height": 9000})
    job = await stage.job(*(f"{n:02}.png" for n in range(60)), models=["alpha"])
    await open_job(page, stage, job)
    waiting = page.locator(".cell.waiting")
    await expect(waiting.filter(has_text="running").first).to_be_visible()
    await expect(waiting.filter(has_text="queued").locator(".reason").first).not_to_be_empty()
    await stage.release()
    await expect(page.locator(".caption")).to_have_count(60)
    await expect(cell(page, "59.png", 1)).to_contain_text("0.01 s")
    await expect(page.locator(".job-progress")).to_contain_text("Done · 60 captioned")


async def test_a_failure_tells_its_reason_and_is_tried_again(page: Page, stage: Stage) -> None:
    stage.script.failing = {"beta"}
    job = await stage.job("bad.png", models=["alpha", "beta"])
    await open_job(page, stage, job)
    failed = cell(page, "bad.png", 2)
    await expect(failed).to_contain_text("Failed: model error")
    await expect(failed).to_contain_text("shapes do not match")
    stage.script.failing = set()
    await failed.get_by_role("button", name="Retry").click()
    await expect(failed).to_contain_text("beta sees")
    await expect(page.get_by_role("button", name="Retry 1 failed")).to_have_count(0)


async def test_events_from_before_a_retry_do_not_undo_it(page: Page, stage: Stage) -> None:
    stage.script.failing = {"beta"}
    job = await stage.job("late.png", models=["beta"])
    await stage.ended(job)
    retried = asyncio.Event()

    async def late(route: Route) -> None:
        before = await route.fetch()
        await retried.wait()
        await route.fulfill(response=before)

    await page.route("**/events*", late, times=1)
    await open_job(page, stage, job)
    stage.script.failing = set()
    async with page.expect_response(lambda answer: answer.url.endswith("/retry")):
        await cell(page, "late.png", 1).get_by_role("button", name="Retry").click()
    retried.set()
    await expect(cell(page, "late.png", 1)).to_contain_text("beta sees")


async def test_all_failures_are_tried_again_at_once(page: Page, stage: Stage) -> None:
    stage.script.failing = {"alpha", "beta"}
    job = await stage.job("worse.png")
    await open_job(page, stage, job)
    button = page.get_by_role("button", name="Retry 2 failed")
    await expect(button).to_be_visible()
    stage.script.failing = set()
    await button.click()
    await expect(page.locator(".caption")).to_have_count(2)


async def test_cut_and_cached_captions_are_marked(page: Page, stage: Stage) -> None:
    stage.script.cut = {"gamma"}
    for _ in range(2):
        job = await stage.job("cut.png", models=["gamma"])
        await open_job(page, stage, job)
        await expect(cell(page, "cut.png", 1)).to_contain_text("cut at the token limit")
    await expect(cell(page, "cut.png", 1)).to_contain_text("cached")


async def test_a_star_is_kept_and_counted(page: Page, stage: Stage) -> None:
    await open_job(page, stage, await stage.job("starred.png"))
    await expect(page.locator(".caption")).to_have_count(2)
    await cell(page, "starred.png", 1).get_by_role("button", name="Star").click()
    summary = page.locator(".grid-foot .stars").first
    await expect(summary).to_contain_text("1")
    await page.reload()
    star = cell(page, "starred.png", 1).get_by_role("button", name="Star")
    await expect(star).to_have_attribute("aria-pressed", "true")
    await star.click()
    await expect(star).to_have_attribute("aria-pressed", "false")
    await expect(summary).to_contain_text("0")


async def test_the_summary_tells_what_a_column_comes_to(page: Page, stage: Stage) -> None:
    stage.script.texts = {"alpha": "five words in every caption"}
    await open_job(page, stage, await stage.job("s1.png", "s2.png", models=["alpha"]))
    foot = page.locator(".grid-foot .foot")
    await expect(foot).to_have_text(re.compile(r"2 captioned\s*0 failed\s*0\.01 s\s*5 words"))


async def test_columns_hide_and_move_and_stay_so(page: Page, stage: Stage) -> None:
    await open_job(page, stage, await stage.job("a.png", models=["alpha", "beta", "gamma"]))
    await page.get_by_role("button", name="Column alpha").click()
    await page.get_by_role("menuitem", name="Move right").click()
    await expect(page.locator(HEADS)).to_have_text(["beta", "alpha", "gamma"])
    await page.get_by_role("button", name="Column beta").click()
    await page.get_by_role("menuitem", name="Hide").click()
    await page.reload()
    await expect(page.locator(HEADS)).to_have_text(["alpha", "gamma"])
    await page.get_by_role("button", name="Columns (1 hidden)").click()
    await page.get_by_role("checkbox", name="beta").check()
    await page.keyboard.press("Escape")
    await expect(page.locator(HEADS)).to_have_text(["beta", "alpha", "gamma"])


async def test_a_column_is_dragged_to_its_place(page: Page, stage: Stage) -> None:
    await open_job(page, stage, await stage.job("d.png", models=["alpha", "beta", "gamma"]))
    heads = page.locator(".grid-head .head")
    await heads.nth(2).drag_to(heads.nth(0))
    await expect(page.locator(HEADS)).to_have_text(["gamma", "alpha", "beta"])


async def test_a_finished_job_gets_a_further_column(page: Page, stage: Stage) -> None:
    await open_job(page, stage, await stage.job("more.png", models=["alpha"]))
    await expect(page.locator(".job-progress")).to_contain_text("Done")
    await page.get_by_role("button", name="Add column").click()
    dialog = page.get_by_role("dialog", name="Add a column")
    await dialog.get_by_role("checkbox", name="Alpha").check()
    await dialog.get_by_role("textbox", name="Prompt").fill("In one word?")
    await dialog.get_by_role("button", name="Add 1 column").click()
    await expect(page.locator(HEADS)).to_have_text(["alpha", "alpha"])
    await expect(page.locator(".grid-head")).to_contain_text("In one word?")
    await expect(page.locator(".caption")).to_have_count(2)


async def test_search_shows_only_rows_that_match_and_marks_them(page: Page, stage: Stage) -> None:
    await open_job(page, stage, await stage.job("apple.png", "pear.png", models=["alpha"]))
    await expect(page.locator(".caption")).to_have_count(2)
    await page.keyboard.press("/")
    await page.keyboard.type("apple")
    await expect(page.locator(".grid-row")).to_have_count(1)
    await page.get_by_role("searchbox").fill("alpha sees")
    await expect(page.locator("mark")).to_have_text(["alpha sees", "alpha sees"])
    await page.get_by_role("searchbox").fill("nothing has this")
    await expect(page.get_by_text("No caption or file name contains")).to_be_visible()
    await page.get_by_role("searchbox").fill("")
    await expect(page.locator(".grid-row")).to_have_count(2)


async def test_the_keyboard_reaches_and_does_everything(page: Page, stage: Stage) -> None:
    await open_job(page, stage, await stage.job("k1.png", "k2.png", models=["alpha", "beta"]))
    await expect(page.locator(".caption")).to_have_count(4)
    await page.locator(".picture").first.focus()
    for key in ("ArrowRight", "ArrowDown"):
        await page.keyboard.press(key)
    # On a busy machine the focus follows later than the next key would come.
    await expect(cell(page, "k2.png", 1)).to_be_focused()
    for key in ("s", "c"):
        await page.keyboard.press(key)
    star = cell(page, "k2.png", 1).get_by_role("button", name="Star")
    await expect(star).to_have_attribute("aria-pressed", "true")
    await expect(page.get_by_text("Copied.")).to_be_visible()
    caption = await cell(page, "k2.png", 1).locator(".caption").inner_text()
    assert await page.evaluate("navigator.clipboard.readText()") == caption
    await page.keyboard.press("Shift+ArrowRight")
    await expect(page.locator(HEADS)).to_have_text(["beta", "alpha"])
    await page.keyboard.press("h")
    await expect(page.locator(HEADS)).to_have_text(["beta"])
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


async def test_a_picture_opens_large_beside_its_captions(page: Page, stage: Stage) -> None:
    await open_job(page, stage, await stage.job("l1.png", "l2.png", models=["alpha", "beta"]))
    await expect(page.locator(".caption")).to_have_count(4)
    await page.get_by_role("button", name="Show l1.png").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.locator(".caption")).to_have_count(2)
    await page.keyboard.press("ArrowRight")
    await expect(dialog.get_by_role("heading", name="l2.png")).to_be_visible()


async def test_waiting_work_is_canceled(page: Page, stage: Stage) -> None:
    stage.script.holding = True
    await open_job(page, stage, await stage.job("c1.png", "c2.png", models=["beta"]))
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator(".job-progress")).to_contain_text("Canceled")
    await expect(cell(page, "c1.png", 1)).to_contain_text("canceled")


async def test_captions_and_names_are_text_and_never_markup(page: Page, stage: Stage) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>"
    stage.script.texts = {"beta": evil}
    await open_job(page, stage, await stage.job(f"{evil}.png", models=["beta"], name=evil))
    await expect(page.locator(".caption")).to_have_text(evil)
    await expect(page.locator(".filename")).to_have_text(f"{evil}.png")
    await expect(page.get_by_role("heading", level=1)).to_have_text(evil)
    assert (
        await page.locator(".grid b, .grid img[src=x]").count()
        == await page.locator(".foot b").count()
    )
    assert await page.title() != "owned"


async def test_the_job_is_exported_as_a_table(page: Page, stage: Stage, tmp_path: Path) -> None:
    await open_job(page, stage, await stage.job("e.png", models=["alpha"]))
    await expect(page.locator(".caption")).to_have_count(1)
    await page.get_by_role("button", name="Export").click()
    async with page.expect_download() as download:
        await page.get_by_role("menuitem", name="CSV table").click()
    file = tmp_path / "export.csv"
    await (await download.value).save_as(file)
    with file.open(newline="") as lines:
        assert "alpha sees" in str(list(csv.DictReader(lines)))


async def test_ten_thousand_rows_stay_light(page: Page, stage: Stage) -> None:
    await stage.job("one.png", models=["alpha"])
    async with stage.client() as client:
        job = (await client.get("/jobs?limit=1")).json()["items"][0]["id"]
        row = (await client.get(f"/jobs/{job}/grid")).json()["items"][0]
        rows = [{"id": row["image"]["id"], "filename": f"{n:05}.png"} for n in range(10_000)]
        answer = await client.post("/jobs", json={"images": rows, "models": ["alpha"]})
    await open_job(page, stage, answer.json()["id"])
    await expect(page.locator(".corner").first).to_have_text("10,000 pictures")
    await page.locator(".picture").first.focus()
    await page.keyboard.press("Control+End")
    await expect(page.get_by_text("09999.png")).to_be_visible()
    await page.locator(".job").evaluate("job => job.scrollTop = job.scrollHeight / 2")
    await expect(page.locator(".filename").first).to_have_text(re.compile("04[89]|05[01]"))
    assert await page.locator(".grid-row").count() < 60


async def test_a_job_that_is_not_there_says_so(page: Page, stage: Stage) -> None:
    await page.goto(f"{stage.url}/jobs/nowhere")
    await expect(page.get_by_role("alert")).to_contain_text("There is no job nowhere.")
