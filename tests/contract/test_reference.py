"""docs/models.md and docs/settings.md say what the types say."""

import sys

from tests.conftest import ROOT

sys.path.append(str(ROOT / "scripts"))

from reference import models_page, settings_page


def test_the_page_of_models_is_made_from_the_types() -> None:
    assert (ROOT / "docs" / "models.md").read_text() == models_page(), "run `make crds`"


def test_the_page_of_settings_is_made_from_the_settings() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page(), "run `make crds`"


def test_every_setting_is_described() -> None:
    for line in settings_page().splitlines():
        if line.startswith("| `"):
            assert not line.endswith("|  |"), f"no description: {line}"
