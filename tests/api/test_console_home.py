"""The home page: pictures come in by drop, paste and dialog; models are chosen; a job is made."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect
from tests.api.console_stage import Stage, hand_over, picture_of

PICTURES = Path(__file__).parents[2] / "examples" / "shapes" / "pictures"


@pytest.fixture
async def home(page: Page, stage: Stage) -> Page:
    await page.goto(stage.url)
    await expect(page.get_by_role("checkbox", name="Alpha")).to_be_visible()
    return page


async def choose(page: Page, *models: str) -> None:
    for box in await page.locator(".chip input").all():
        await box.set_checked(await box.get_attribute("value") in models)


async def test_dropped_pictures_become_a_grid_of_captions(home: Page) -> None:
    await hand_over(home, {f"{n}.png": picture_of(f"{n}") for n in range(3)})
    await choose(home, "alpha", "beta")
    await home.get_by_role("button", name="Caption 3 pictures with 2 models").click()
    await expect(home).to_have_url(re.compile(r"/jobs/\w+"))
    await expect(home.locator(".caption")).to_have_count(6)
    await expect(home.get_by_role("row").filter(has_text="1.png")).to_contain_text("alpha sees")


async def test_a_pasted_picture_is_taken_and_sent_with_ctrl_enter(home: Page) -> None:
    await hand_over(home, {"pasted.png": picture_of("pasted")}, event="paste")
    await choose(home, "gamma")
    await expect(home.get_by_role("button", name="Caption 1 picture with 1 model")).to_be_visible()
    await home.keyboard.press("Control+Enter")
    await expect(home.locator(".caption")).to_have_text(re.compile("gamma sees"))


async def test_thumbnails_are_there_before_the_upload_ends(home: Page) -> None:
    arrived = asyncio.Event()

    async def hold(route: Route) -> None:
        await arrived.wait()
        await route.continue_()

    await home.route("**/api/v1/images?*", hold)
    await hand_over(home, {"slow.png": picture_of("slow")})
    await expect(home.locator(".tile img")).to_have_attribute("src", re.compile("^blob:"))
    await expect(home.get_by_role("button", name="Sending 1 picture…")).to_be_visible()
    arrived.set()
    await expect(home.get_by_text("1 ready")).to_be_visible()


async def test_a_rejected_file_says_why_and_the_rest_goes_on(home: Page) -> None:
    good = picture_of("good")
    files = {"good.png": good, "words.jpg": b"only words", "half.png": good[: len(good) // 2]}
    await hand_over(home, files)
    await expect(home.get_by_text("1 ready, 2 rejected")).to_be_visible()
    for name in ("words.jpg", "half.png"):
        tile = home.locator(".tile").filter(has_text=name)
        await expect(tile.locator(".failure")).not_to_be_empty()
    await choose(home, "alpha")
    await expect(home.get_by_role("button", name="Caption 1 picture with 1 model")).to_be_visible()


async def test_equal_pictures_are_noticed(home: Page) -> None:
    same = picture_of("same")
    await hand_over(home, {"one.png": same, "two.png": same})
    await expect(home.get_by_text("same picture as one.png")).to_be_visible()
    await hand_over(home, {"one.png": same})
    await expect(home.get_by_text("1 picture was here already")).to_be_visible()
    await expect(home.get_by_text("2 ready")).to_be_visible()


async def test_a_folder_is_taken_without_what_is_no_picture(home: Page, tmp_path: Path) -> None:
    holiday = tmp_path / "holiday"
    (holiday / "day 1").mkdir(parents=True)
    (holiday / "a.png").write_bytes(picture_of("a"))
    (holiday / "day 1" / "b.png").write_bytes(picture_of("b"))
    (holiday / "notes.txt").write_text("no picture")
    await home.locator("input[webkitdirectory]").set_input_files(holiday)
    await expect(home.get_by_text("2 ready")).to_be_visible()
    await expect(home.get_by_text("Left out 1 file that is no picture")).to_be_visible()
    await expect(home.get_by_text("holiday/day 1/b.png")).to_be_visible()


async def test_a_busy_server_gets_the_picture_a_little_later(home: Page) -> None:
    turned_away: list[str] = []

    async def busy_once(route: Route) -> None:
        if turned_away:
            await route.continue_()
            return
        turned_away.append(route.request.url)
        await route.fulfill(status=503, headers={"retry-after": "1"}, body="{}")

    await home.route("**/api/v1/images?*", busy_once)
    await hand_over(home, {"later.png": picture_of("later")})
    await expect(home.get_by_text("1 ready")).to_be_visible()
    assert turned_away


async def test_pictures_and_models_survive_a_reload(home: Page) -> None:
    await hand_over(home, {"kept.png": picture_of("kept")})
    await expect(home.get_by_text("1 ready")).to_be_visible()
    await choose(home, "beta")
    await home.reload()
    await expect(home.get_by_role("button", name="Caption 1 picture with 1 model")).to_be_visible()
    await expect(home.get_by_role("checkbox", name="Beta")).to_be_checked()
    await expect(home.get_by_role("checkbox", name="Alpha")).not_to_be_checked()


async def test_a_preset_of_a_chosen_model_becomes_the_prompt(home: Page) -> None:
    await hand_over(home, {"asked.png": picture_of("asked")})
    await choose(home, "alpha")
    await home.get_by_role("button", name="brief").click()
    await expect(home.get_by_role("textbox", name="Prompt")).to_have_value("Be brief.")
    await home.get_by_role("button", name="Caption 1 picture with 1 model").click()
    await expect(home.get_by_role("columnheader").filter(has_text="alpha")).to_contain_text("brief")
    await expect(home.locator(".caption")).to_have_count(1)


async def columns_of(page: Page, stage: Stage) -> list[tuple[str, str, str]]:
    """Model, head and prompt of each column of the job that the page came to."""
    await expect(page).to_have_url(re.compile(r"/jobs/\w+"))
    async with stage.client() as client:
        job = (await client.get(f"/jobs/{page.url.rsplit('/', 1)[-1]}")).json()
    return [(c["model"], c["prompt_name"], c["prompt"]) for c in job["columns"]]


async def test_a_preset_of_all_chosen_models_asks_each_by_its_own_text(
    home: Page, stage: Stage
) -> None:
    await hand_over(home, {"both.png": picture_of("both")})
    await choose(home, "alpha", "beta")
    await home.get_by_role("button", name="brief").click()
    await expect(home.get_by_placeholder("Each model is asked by its own “brief”")).to_be_empty()
    await home.get_by_role("button", name="Caption 1 picture with 2 models").click()
    assert await columns_of(home, stage) == [
        ("alpha", "brief", "Be brief."), ("beta", "brief", "In short:"),
    ]  # fmt: skip


async def test_a_preset_that_a_chosen_model_lacks_asks_all_by_the_text_of_one(
    home: Page, stage: Stage
) -> None:
    await hand_over(home, {"one.png": picture_of("one")})
    await choose(home, "alpha")
    await home.get_by_role("button", name="brief").click()
    await choose(home, "alpha", "gamma")
    await expect(home.get_by_role("button", name="brief (alpha)", pressed=True)).to_be_visible()
    await home.get_by_role("button", name="Caption 1 picture with 2 models").click()
    assert await columns_of(home, stage) == [
        ("alpha", "", "Be brief."), ("gamma", "", "Be brief."),
    ]  # fmt: skip


async def test_a_model_chip_tells_state_speed_and_why_not_ready(home: Page, stage: Stage) -> None:
    stage.say(
        "alpha", phase="Ready", message="Loaded.", performance={"p50Seconds": 0.25},
        copies={"instances": [{"worker": "w", "state": "ready", "device": "CPU"}]},
    )  # fmt: skip
    stage.say("beta", phase="Loading", message="Loading on w, 2 s of about 4 s.")
    alpha, beta = (home.locator(".chip").filter(has_text=name) for name in ("Alpha", "Beta"))
    await expect(alpha).to_contain_text("Ready · CPU · 0.25 s per picture")
    await expect(beta).to_contain_text("Loading on w, 2 s of about 4 s.")


async def test_a_lost_answer_makes_no_second_job(home: Page, stage: Stage) -> None:
    lost: list[str] = []

    async def lose_the_answer_once(route: Route) -> None:
        if lost:
            await route.continue_()
            return
        await route.fetch()
        lost.append(route.request.url)
        await route.abort()

    async with stage.client() as client:
        before = len((await client.get("/jobs", params={"limit": 500})).json()["items"])
        await home.route("**/api/v1/jobs", lose_the_answer_once)
        await hand_over(home, {"once.png": picture_of("once")})
        await choose(home, "alpha")
        await expect(home.get_by_role("button", name="Caption 1 picture")).to_be_visible()
        await home.keyboard.press("Control+Enter")
        await expect(home).to_have_url(re.compile(r"/jobs/\w+"))
        after = len((await client.get("/jobs", params={"limit": 500})).json()["items"])
    assert (len(lost), after) == (1, before + 1)
