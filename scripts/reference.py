"""Writes the pages of fields, settings and metrics from the code: `scripts/reference.py docs`.

The code is the truth; a test fails when the pages say something else.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from captionfleet.resources.crd import crds
from captionfleet.settings import FleetSettings

_PROGRAMS = {
    "Every program": "captionfleet.settings:FleetSettings",
    "The server (api and console)": "captionfleet_api.settings:ApiSettings",
    "The operator": "captionfleet_operator.settings:OperatorSettings",
    "A worker": "captionfleet_worker.settings:WorkerSettings",
    "The uninstall hook of the chart": "captionfleet_operator.cluster.uninstall:UninstallSettings",
    "The commands that talk to a server": "captionfleet_cli.settings:CliSettings",
}

METERS: dict[str, Callable[[], list[Any]]] = {
    "A worker, on port 8001": lambda: _registry("captionfleet_worker.metrics:Meters"),
    "The operator on Kubernetes, on port 8080": lambda: _registry(
        "captionfleet_operator.cluster.doors:Meters", "NAMESPACE"
    ),
    "The server (api and console), on port 8000": lambda: _of_modules(
        "captionfleet_api.metrics", "captionfleet_api.jobs.metrics"
    ),
}

_FIELDS_HEAD = """# Models and pools: every field

Two kinds of manifest describe a fleet. A **CaptionModel** is one captioner; a **CaptionWorkerPool**
is a group of like workers that run captioners. This page is made from the types themselves.
[models.md](models.md) tells which captioners there are and what each does where you say nothing.

The smallest model:

```yaml
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {name: blip}
spec:
  source: {huggingFace: {repo: Salesforce/blip-image-captioning-base}}
```

The smallest pool:

```yaml
apiVersion: captionfleet.io/v1alpha1
kind: CaptionWorkerPool
metadata: {name: cpu}
spec:
  device: {type: CPU}
```

An unknown or wrong field is refused with a sentence that names it.
"""

_SETTINGS_HEAD = """# Settings

Every program reads its settings from environment variables, and from a file `.env` beside it.
An environment variable wins over the file. This page is made from the settings themselves.
"""


_METRICS_HEAD = """# Metrics: every one

Each program answers `GET /metrics` for Prometheus. The server's asks for the admin token, as
`Authorization: Bearer TOKEN`. A worker that `captionfleet up` starts takes any free port, so that
several fit on a machine. This page is made from the programs themselves.
"""


def fields_page() -> str:
    parts = [_FIELDS_HEAD]
    for crd in crds().values():
        kind = crd["spec"]["names"]["kind"]
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for part, title in (("spec", "what you write"), ("status", "what the operator answers")):
            parts.append(f"## {kind}.{part}: {title}\n\n| field | type | default | meaning |")
            parts.append("|---|---|---|---|")
            parts.extend(_rows(schema["properties"][part], ""))
            rules = list(_rules(schema["properties"][part], part))
            if rules:
                parts.append("\nRules:\n")
                parts.extend(rules)
            parts.append("")
    return "\n".join(parts) + "\n"


def _rows(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, part in schema.get("properties", {}).items():
        field = f"{path}{name}"
        inner = part.get("items", part)
        nested = "properties" in inner
        default = "" if nested or "default" not in part else f"`{_plain(part['default'])}`"
        yield f"| `{field}` | {_type(part)} | {default} | {_cell(part.get('description', ''))} |"
        if nested:
            yield from _rows(inner, f"{field}[]." if "items" in part else f"{field}.")


def _rules(schema: dict[str, Any], path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield f"* `{path}`: {rule['message']}."
    for name, part in schema.get("properties", {}).items():
        yield from _rules(part, f"{path}.{name}")


def _type(part: dict[str, Any]) -> str:
    if "enum" in part:
        return " or ".join(part["enum"])
    if part.get("type") == "array":
        return f"list of {part['items'].get('type', 'object')}"
    if "additionalProperties" in part:
        return "map"
    bounds = [str(part[key]) for key in ("minimum", "maximum") if key in part]
    name = str(part.get("type", "object"))
    return f"{name} {' to '.join(bounds)}" if len(bounds) == 2 else name


def settings_page() -> str:
    parts = [_SETTINGS_HEAD]
    shared = set(FleetSettings.model_fields)
    for title, place in _PROGRAMS.items():
        module, name = place.split(":")
        settings = getattr(importlib.import_module(module), name)
        parts.append(f"## {title}\n\n| variable | default | meaning |\n|---|---|---|")
        for field, info in settings.model_fields.items():
            if settings is FleetSettings or field not in shared:
                variable = info.validation_alias or f"CAPTIONFLEET_{field.upper()}"
                default = (
                    "" if info.default in (None, PydanticUndefined) else f"`{_plain(info.default)}`"
                )
                parts.append(f"| `{variable}` | {default} | {_cell(info.description or '')} |")
        parts.append("")
    return "\n".join(parts)


def metrics_page() -> str:
    parts = [_METRICS_HEAD]
    for title, meters in METERS.items():
        parts.append(f"## {title}\n\n| metric | type | labels | meaning |\n|---|---|---|---|")
        parts.extend(sorted(_metric_row(meter) for meter in meters()))
        parts.append("")
    return "\n".join(parts)


def _registry(place: str, *arguments: str) -> list[Any]:
    module, name = place.split(":")
    meters = getattr(importlib.import_module(module), name)(*arguments)
    return list(meters.registry._collector_to_names)


def _of_modules(*modules: str) -> list[Any]:
    loaded = (importlib.import_module(module) for module in modules)
    return [
        each for module in loaded for each in vars(module).values() if hasattr(each, "_labelnames")
    ]


def _metric_row(meter: Any) -> str:
    name = f"{meter._name}_total" if meter._type == "counter" else meter._name
    labels = ", ".join(f"`{label}`" for label in meter._labelnames)
    return f"| `{name}` | {meter._type} | {labels} | {_cell(meter._documentation)} |"


def _plain(value: Any) -> str:
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(folder: str) -> None:
    (Path(folder) / "fields.md").write_text(fields_page())
    (Path(folder) / "settings.md").write_text(settings_page())
    (Path(folder) / "metrics.md").write_text(metrics_page())


if __name__ == "__main__":
    main(sys.argv[1])
