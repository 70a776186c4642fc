"""The pages of fields, settings and metrics say what the code says."""

import sys

from tests.conftest import ROOT

sys.path.append(str(ROOT / "scripts"))

from reference import fields_page, metrics_page, settings_page


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
