"""The pages of fields, settings and metrics say what the code says, and metrics keep to rules."""

import sys
from typing import Any

from prometheus_client import Histogram
from tests.conftest import ROOT

sys.path.append(str(ROOT / "scripts"))

from reference import METERS, fields_page, metrics_page, settings_page

WORKER, _, SERVER = METERS
OF_NO_MODEL = {
    "worker_cpu_usage_percent", "worker_ram_usage_percent", "captionfleet_worker_sessions",
    "captionfleet_worker_malformed_messages", "captionfleet_http_request_seconds",
    "captionfleet_rejected_files",
}  # fmt: skip
"""Of a program, a connection, or files that nobody has asked a model about."""
FEW_VALUES = {"state", "outcome", "fate", "verdict", "code", "method", "route", "status"}


def meters_of_worker_and_server() -> list[Any]:
    return [*METERS[WORKER](), *METERS[SERVER]()]


def test_the_page_of_models_is_made_from_the_types() -> None:
    assert (ROOT / "docs" / "fields.md").read_text() == fields_page(), "run `make crds`"


def test_the_page_of_settings_is_made_from_the_settings() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page(), "run `make crds`"


def test_every_setting_is_described() -> None:
    for line in settings_page().splitlines():
        if line.startswith("| `"):
            assert not line.endswith("|  |"), f"no description: {line}"


def test_the_page_of_metrics_is_made_from_the_programs() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == metrics_page(), "run `make crds`"


def test_metrics_of_worker_and_server_tell_the_model_and_no_picture_task_or_person() -> None:
    for meter in meters_of_worker_and_server():
        labels = set(meter._labelnames)
        assert ("model" in labels) == (meter._name not in OF_NO_MODEL), meter._name
        assert labels <= FEW_VALUES | {"model"}, meter._name


def test_buckets_of_seconds_reach_from_ten_milliseconds_to_two_minutes() -> None:
    meters = meters_of_worker_and_server()
    timed = [m for m in meters if isinstance(m, Histogram) and m._name.endswith("_seconds")]
    assert len(timed) == 4
    for meter in timed:
        bounds = meter._upper_bounds
        assert bounds[0] <= 0.01 and bounds[-2] >= 120, meter._name
