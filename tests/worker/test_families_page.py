"""docs/models.md shows people the table of families as the engine has it."""

from tests.conftest import ROOT

from captionfleet_worker.engine.families import RECIPES, Family, Recipe, Words

_ASKED = {
    Family.IMAGE: "the picture alone",
    Family.PREFIXED: "the picture, or a beginning",
    Family.PROMPTED: "with a prompt",
    Family.CHAT: "by chat",
}


def test_the_page_has_the_families_of_the_engine() -> None:
    lines = (ROOT / "docs" / "models.md").read_text().splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("| `model_type`"))
    shown = lines[start + 2 : start + 2 + len(RECIPES)]
    assert shown == [row(name, recipe) for name, recipe in RECIPES.items()]
    assert lines[start + 2 + len(RECIPES)] == ""


def row(name: str, recipe: Recipe) -> str:
    prompt = f"`{recipe.default_prompt}`" if recipe.default_prompt else ""
    cells = (f"`{name}`", _ASKED[recipe.family], prompt, str(recipe.max_new_tokens),
             str(recipe.num_beams), ", ".join(recipe.needs), beside(recipe))  # fmt: skip
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def beside(recipe: Recipe) -> str:
    if recipe.most_pixels:
        return f"at most {recipe.most_pixels} pixels"
    if recipe.words is not Words.PLAIN:
        return "places are left out"
    return "no float16" if recipe.overflows else ""
