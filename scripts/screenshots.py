"""Takes the pictures of the console that README and docs show: `make screenshots`.

Without an address it starts the demo for itself. Pictures go to docs/screenshots/.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser, Page, async_playwright, expect

ROOT = Path(__file__).parent.parent
SHAPES = ROOT / "examples" / "shapes"
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
MODELS = ["shapes-basic", "shapes-blip", "shapes-chat", "shapes-weak"]
PATIENCE = 300


@dataclass(frozen=True)
class Look:
    """A window and its colors."""

    name: str
    width: int
    height: int
    colors: Any


LOOKS = (
    Look("light", 1280, 800, "light"),
    Look("dark", 1280, 800, "dark"),
    Look("phone", 360, 740, "light"),
    Look("phone-dark", 360, 740, "dark"),
)


async def take(url: str, folder: Path) -> None:
    """Pictures of every page in every look, of a fresh job on the fleet at `url`."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        job = await make_job(url)
        for look in LOOKS:
            await take_look(browser, url, job, look, folder)
        await browser.close()


async def make_job(url: str) -> str:
    """The sample pictures shown to the models of the demo; waits for all captions."""
    pictures = sorted(p for p in (SHAPES / "pictures").iterdir() if p.suffix != ".json")
    async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60) as client:
        images = []
        for picture in pictures:
            answer = await client.post(
                "/images",
                content=picture.read_bytes(),
                params={"filename": picture.name},
                headers={"content-type": "application/octet-stream"},
            )
            images.append({"id": answer.raise_for_status().json()["id"], "filename": picture.name})
        body = {"images": images, "models": MODELS, "name": "Sample pictures"}
        job: dict[str, Any] = (await client.post("/jobs", json=body)).raise_for_status().json()
        tell = {"prompts": [{"name": "count", "text": "How many shapes are there?"}]}
        await client.post(f"/jobs/{job['id']}/columns", json={"models": ["shapes-chat"], **tell})
        async with asyncio.timeout(PATIENCE):
            while job["state"] == "running" or len(job["columns"]) == len(MODELS):
                await asyncio.sleep(0.5)
                job = (await client.get(f"/jobs/{job['id']}")).raise_for_status().json()
        return str(job["id"])


async def take_look(browser: Browser, url: str, job: str, look: Look, folder: Path) -> None:
    context = await browser.new_context(
        viewport={"width": look.width, "height": look.height},
        color_scheme=look.colors,
        has_touch=look.width < 600,
        device_scale_factor=1,
    )
    page = await context.new_page()

    async def shoot(name: str) -> None:
        await page.screenshot(path=folder / f"{name}-{look.name}.png")

    await page.goto(f"{url}/jobs/{job}")
    await grid_is_drawn(page)
    await shoot("grid")
    for name in ("jobs", "models", "workers"):
        await page.goto(f"{url}/{name}")
        await expect(page.locator(".card, .jobs li").first).to_be_visible()
        await shoot(name)
    await page.goto(f"{url}/models/code")
    await page.get_by_role("button", name="Start from an example").click()
    await expect(page.locator(".check .fine")).to_be_visible()
    await shoot("code")
    await page.goto(url)
    await page.get_by_role("button", name="Try the sample pictures").click()
    await expect(page.locator(".primary[aria-disabled=false]")).to_be_visible(timeout=60_000)
    await shoot("home")
    await context.close()


async def grid_is_drawn(page: Page) -> None:
    """Captions stand there and the thumbnails in view have come."""
    await expect(page.locator(".caption").first).to_be_visible()
    await expect(page.locator(".foot").first).to_be_visible()
    complete = "[...document.querySelectorAll('.thumb img')].every(i => i.complete)"
    await page.wait_for_function(complete)


@contextmanager
def demo() -> Iterator[str]:
    """A demo of its own, with its own data; ends with the block."""
    with tempfile.TemporaryDirectory() as data:
        up = subprocess.Popen(
            [sys.executable, "-m", "captionfleet_cli", "up", str(SHAPES), "--demo", "--port", "0",
             "--data", data],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert up.stdout
            ready = next((line for line in up.stdout if line.startswith("ready ")), None)
            if ready is None:
                raise SystemExit("the demo did not start: run `make demo` to see why")
            yield ready.split()[1].rstrip("/")
        finally:
            up.terminate()
            up.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", help="Address of a running demo. Default: start one.")
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "screenshots")
    chosen = parser.parse_args()
    if chosen.url:
        asyncio.run(take(chosen.url.rstrip("/"), chosen.folder))
    else:
        with demo() as url:
            asyncio.run(take(url, chosen.folder))
    print(f"wrote {len(list(chosen.folder.glob('*.png')))} pictures to {chosen.folder}")


if __name__ == "__main__":
    main()
