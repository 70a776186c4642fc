"""The console's pure parts, by property: each runs in the browser, judged from here."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from playwright.async_api import Browser, Route
from tests.conftest import ROOT

MODULES = ROOT / "api" / "captionfleet_api" / "console" / "modules"
Evaluate = Callable[[str, Any], Awaitable[Any]]
HEIGHTS = st.lists(st.integers(1, 500), min_size=1, max_size=60)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30)
MANIFESTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | WORDS
    | st.sampled_from(["yes", "null", "~", "1e3", "0x10", "a: b", "- a", "# a", "two\nlines", "é"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.fixture(scope="module")
async def evaluate(browser: Browser) -> AsyncIterator[Evaluate]:
    """Run a function body with the console's modules as `geometry`, `columns`, ... and `given`."""
    page = await browser.new_page()

    async def serve(route: Route) -> None:
        file = MODULES / route.request.url.rsplit("/", 1)[-1]
        if file.suffix == ".js":
            await route.fulfill(path=file, content_type="text/javascript")
        else:
            await route.fulfill(body="<!doctype html>", content_type="text/html")

    await page.route("**", serve)
    await page.goto("http://console.test/")
    names = "geometry columns fleet_words pace words yaml".split()  # noqa: SIM905 - reads as it is
    imports = "".join(f"const {n} = await import('http://console.test/{n}.js');" for n in names)

    async def run(body: str, given: Any) -> Any:
        return await page.evaluate(f"async (given) => {{ {imports} {body} }}", given)

    yield run
    await page.close()


@given(heights=HEIGHTS)
async def test_every_pixel_belongs_to_the_row_that_covers_it(
    evaluate: Evaluate, heights: list[int]
) -> None:
    tops, found = await evaluate(
        """const g = new geometry.Geometry(50); g.resize(given.length);
        given.forEach((height, index) => g.measure(index, height));
        const tops = [...given, 0].map((_, index) => g.top(index));
        return [tops, given.map((height, index) => [g.indexAt(g.top(index)),
                                                    g.indexAt(g.top(index) + height - 1)])];""",
        heights,
    )
    assert tops == [sum(heights[:n]) for n in range(len(heights) + 1)]
    assert found == [[n, n] for n in range(len(heights))]


@given(count=st.integers(1, 8), moves=st.lists(st.tuples(st.integers(0, 7), st.integers(-2, 2))))
async def test_moving_columns_loses_and_doubles_none(
    evaluate: Evaluate, count: int, moves: list[tuple[int, int]]
) -> None:
    orders = await evaluate(
        """const all = Array.from({length: given.count}, (_, id) => ({id: String(id)}));
        let layout = {order: [], hidden: []};
        return given.moves.map(([id, step]) => {
          layout = columns.moved(all, layout, String(id % given.count), step);
          return columns.shown(all, layout).map((column) => column.id);
        });""",
        {"count": count, "moves": moves},
    )
    assert all(sorted(order) == sorted(str(n) for n in range(count)) for order in orders)


@given(text=WORDS, sought=WORDS)
async def test_marked_pieces_add_up_to_the_text(evaluate: Evaluate, text: str, sought: str) -> None:
    pieces = await evaluate("return words.pieces(...given);", [text, sought])
    assert "".join(piece["text"] for piece in pieces) == text


@given(document=st.dictionaries(WORDS, MANIFESTS, min_size=1, max_size=4))
async def test_a_manifest_reads_back_as_it_was(
    evaluate: Evaluate, document: dict[str, Any]
) -> None:
    text = await evaluate("return yaml.yaml(JSON.parse(given));", json.dumps(document))
    assert yaml.safe_load(text) == document


async def test_a_cell_waits_for_those_before_it_in_its_column(evaluate: Evaluate) -> None:
    body = "return given.map((args) => pace.cellSeconds(...args));"
    cases = [[0, 100, 100, 10], [99, 100, 100, 10], [60, 100, 50, 10], [0, 100, 50, 0]]
    assert await evaluate(body, cases) == [0.1, 10, 1.1, None]


async def test_numbers_read_well(evaluate: Evaluate) -> None:
    body = "return [[0.0001, 0.0341, 1.26, 34, 600, 7800].map(words.seconds), words.bytes(990e6)];"
    read = await evaluate(body, None)
    assert read == [["< 0.001 s", "0.034 s", "1.3 s", "34 s", "10 min", "2 h 10 min"], "944 MB"]


async def test_a_person_is_told_how_a_model_comes_to_be_where_it_is_kept(
    evaluate: Evaluate,
) -> None:
    body = "return given.map((state) => fleet_words.wayToAdd('CaptionModel', state));"
    folder, cluster = {"kind": "folder", "name": "/m"}, {"kind": "namespace", "name": "pictures"}
    assert await evaluate(body, [None, {"catalog": folder}, {"catalog": cluster}]) == [
        "Put a CaptionModel into the catalog folder",
        "Put a CaptionModel into the catalog folder",
        "Apply a CaptionModel in the namespace pictures (kubectl apply -f FILE)",
    ]


async def test_a_catalog_that_cannot_be_read_is_told_and_what_still_works(
    evaluate: Evaluate,
) -> None:
    away = {"catalog": {"trouble": "captionmodels may be out of date: no answer"}}
    (told,) = await evaluate("return fleet_words.troubles(given);", away)
    assert told["text"].startswith("Captionmodels may be out of date: no answer. What is shown")
