"""What the charts repeat is made from one source, and every value is described."""

import json
from collections.abc import Iterator
from typing import Any

import yaml
from scripts.charts import values, written
from tests.chart.helm import CHART
from tests.conftest import ROOT

CHARTS = ROOT / "charts"


def test_the_charts_are_what_their_sources_say() -> None:
    for path, text in written(CHARTS).items():
        assert (CHARTS / path).read_text() == text, f"{path}: run `make crds`"


def test_the_copy_inside_the_main_chart_has_nothing_of_its_own() -> None:
    copy = CHART / "charts" / "captionfleet-crds"
    for file in filter(lambda each: each.is_file(), copy.rglob("*")):
        original = CHARTS / "captionfleet-crds" / file.relative_to(copy)
        assert file.read_text() == original.read_text()


def test_charts_and_programs_have_one_version() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    for name in ("captionfleet", "captionfleet-crds"):
        chart = yaml.safe_load((CHARTS / name / "Chart.yaml").read_text())
        assert f'\nversion = "{chart["appVersion"]}"\n' in project
        assert chart["version"] == chart["appVersion"]
    [dependency] = yaml.safe_load((CHART / "Chart.yaml").read_text())["dependencies"]
    assert dependency["version"] == chart["version"]


def test_every_value_has_a_comment() -> None:
    text = (CHART / "values.yaml").read_text()
    described = {value.path for value in values(text)}
    undescribed = [
        path
        for path in _leaves(yaml.safe_load(text))
        if not any(path == each or path.startswith(f"{each}.") for each in described)
    ]
    assert undescribed == []


def test_the_schema_knows_exactly_the_values_there_are() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = set(_closed(schema, schema))
    there = set(_leaves(yaml.safe_load((CHART / "values.yaml").read_text())))
    assert {path for path in known if not any(_covers(path, each) for each in there)} == {
        f"{component}.image.{field}"
        for component in ("api", "operator")
        for field in ("registry", "repository", "tag", "digest", "pullPolicy")
    } | {
        f"{component}.resources.{field}"
        for component, field in (
            ("api", "claims"), ("operator", "claims"), ("rabbitmq", "claims"),
        )
    } | {"crds.global"}  # fmt: skip


def _covers(path: str, other: str) -> bool:
    return path == other or other.startswith(f"{path}.")


def _leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def _closed(root: dict[str, Any], part: dict[str, Any], path: str = "") -> Iterator[str]:
    """Paths of all properties, of maps that take no others."""
    if reference := part.get("$ref"):
        part = root["definitions"][reference.rpartition("/")[2]]
    if "properties" not in part:
        yield path.removesuffix(".")
        return
    assert path == "global." or part["additionalProperties"] is False, f"{path} takes anything"
    for key, inner in part["properties"].items():
        yield from _closed(root, inner, f"{path}{key}.")
