"""crds/*.yaml are made from the types and nothing else."""

from collections.abc import Iterator
from typing import Any

from tests.conftest import ROOT

from captionfleet.resources.crd import crds, render


def test_the_files_are_what_the_types_say() -> None:
    for name, crd in crds().items():
        assert (ROOT / "crds" / name).read_text() == render(crd), "run `make crds`"


def test_every_field_has_a_description() -> None:
    for name, crd in crds().items():
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for part in ("spec", "status"):
            assert list(_undescribed(schema["properties"][part], f"{name}.{part}")) == []


def _undescribed(schema: dict[str, Any], path: str) -> Iterator[str]:
    for field, part in schema.get("properties", {}).items():
        if not part.get("description"):
            yield f"{path}.{field}"
        yield from _undescribed(part, f"{path}.{field}")
        if "items" in part:
            yield from _undescribed(part["items"], f"{path}.{field}[]")
