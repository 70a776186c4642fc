"""Writes what the charts repeat: `python scripts/charts.py charts`.

The CRDs as templates, the copy of their chart inside the main one (so that it installs from a
checkout as it is), and the table of values in the README. A test fails when they differ.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from captionfleet.resources.crd import crds, render

_CRDS = Path("captionfleet-crds")
_VENDORED = Path("captionfleet/charts/captionfleet-crds")
_COPIED = ("Chart.yaml", "values.yaml", "values.schema.json", "templates/_helpers.tpl")
_VALUES = Path("captionfleet/values.yaml")
_README = Path("captionfleet/README.md")
_TABLE = re.compile("(?<=<!-- values -->\n).*(?=<!-- end of values -->)", re.DOTALL)
_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z]+):")
_METADATA = """\
  annotations:
    captionfleet.io/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
    {{- if .Values.keep }}
    helm.sh/resource-policy: keep
    {{- end }}
  labels:
    app.kubernetes.io/name: captionfleet
    app.kubernetes.io/component: crds
    app.kubernetes.io/instance: {{ .Release.Name }}
    app.kubernetes.io/managed-by: {{ .Release.Service }}
"""


def written(charts: Path) -> dict[Path, str]:
    """Every file that is made, below the folder of charts, with what must be in it."""
    files = {
        folder / "templates" / name: _template(crd)
        for folder in (_CRDS, _VENDORED)
        for name, crd in crds().items()
    }
    files |= {_VENDORED / name: (charts / _CRDS / name).read_text() for name in _COPIED}
    table = values_table((charts / _VALUES).read_text())
    readme = (charts / _README).read_text()
    return files | {_README: _TABLE.sub(lambda _: table, readme)}


def _template(crd: dict[str, Any]) -> str:
    name = crd["metadata"]["name"]
    head, _, body = render(crd).partition("\n")
    escaped = body.replace("{{", '{{ "{{" }}')
    named = f"metadata:\n  name: {name}\n"
    return (
        f"{head}\n"
        f'{{{{- if include "captionfleet-crds.ours" (dict "root" . "name" "{name}") }}}}\n'
        f"{escaped.replace(named, named + _METADATA, 1)}"
        "{{- end }}\n"
    )


@dataclass(frozen=True)
class Value:
    """One row of the table."""

    path: str
    default: Any
    comment: str


def values_table(text: str) -> str:
    rows = [
        f"| `{each.path}` | `{json.dumps(each.default)}` | {_cell(each.comment)} |"
        for each in values(text)
    ]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows]) + "\n"


def values(text: str) -> Iterator[Value]:
    """Every value of a values.yaml that has a comment above it, and none around it that has.

    A comment of a map whose keys have comments of their own describes the whole map.
    """
    described, defaults = dict(_comments(text)), yaml.safe_load(text)
    for path, comment in described.items():
        if not any(other.startswith(f"{path}.") for other in described):
            yield Value(path, _at(defaults, path), comment)


def _comments(text: str) -> Iterator[tuple[str, str]]:
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.strip().startswith("#"):
            comment.append(line.strip().removeprefix("#").strip())
            continue
        if found := _KEY.match(line):
            depth = len(found["indent"])
            parents = [*(each for each in parents if each[0] < depth), (depth, found["key"])]
            if comment:
                yield ".".join(key for _, key in parents), " ".join(comment)
        comment = []


def _at(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = values[key]
    return values


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(folder: str) -> None:
    for path, text in written(Path(folder)).items():
        place = Path(folder) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1])
