"""doctor: every judgement says what is wrong and what to do."""

from pathlib import Path
from typing import Any

from captionfleet.client import Fleet
from captionfleet_cli.doctor import Finding, Level, disk, judged, line

WELL: dict[str, Any] = {
    "fleet": "captionfleet", "version": "0.1.0", "workers": 1,
    "broker": {"connected": True}, "operator": {"seen_seconds": 1.0},
}  # fmt: skip
MODEL = {"metadata": {"name": "blip"}, "status": {"phase": "Ready"}}


def findings(models: list[dict[str, Any]], **changed: Any) -> dict[str, Finding]:
    found = judged(Fleet.model_validate(WELL | changed), models)
    return {finding.what: finding for finding in found}


def test_a_healthy_fleet_has_nothing_to_say() -> None:
    assert {finding.level for finding in findings([MODEL]).values()} == {Level.OK}


def test_a_lost_broker_and_a_silent_operator_fail() -> None:
    broker = {"connected": False, "message": "connection refused"}
    found = findings([MODEL], broker=broker, operator={"seen_seconds": 60, "message": "silent"})
    assert found["broker"].level is Level.FAIL and "refused" in found["broker"].said
    assert found["operator"].level is Level.FAIL and found["operator"].said == "silent"


def test_a_failed_model_fails_with_its_reason() -> None:
    broken = {"metadata": {"name": "git"}, "status": {"phase": "Failed", "message": "no weights"}}
    found = findings([MODEL, broken])
    assert found["model git"].level is Level.FAIL
    assert "no weights" in found["model git"].said
    assert "captionfleet describe model git" in found["model git"].remedy


def test_refused_manifests_fail() -> None:
    found = findings([MODEL], catalog_problems=["models.yaml: spec.beams: unknown field"])
    assert found["manifest"].level is Level.FAIL


def test_a_catalog_that_cannot_be_read_is_warned_of() -> None:
    found = findings([MODEL], catalog={"trouble": "captionmodels may be out of date: no answer"})
    assert found["catalog"].level is Level.WARN


def test_no_workers_and_no_models_are_warned_of() -> None:
    found = findings([], workers=0)
    assert found["workers"].level is Level.WARN
    assert "captionfleet add" in found["models"].remedy


def test_little_disk_space_warns_and_none_fails() -> None:
    levels = [disk(Path(), free).level for free in (10**8, 3 * 10**9, 10**11)]
    assert levels == [Level.FAIL, Level.WARN, Level.OK]


def test_a_line_shows_level_and_remedy() -> None:
    text = line(Finding(Level.WARN, "disk", "3 GB free", "free some")).plain
    assert text == "warn disk: 3 GB free\n      free some"
