"""Tables: the columns that kubectl would print, and ages for people."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captionfleet_cli.kinds import age, find_kind, rows, size, value_at
from captionfleet_cli.trouble import Exit, Trouble

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MODEL: dict[str, Any] = {
    "metadata": {"name": "blip", "creationTimestamp": (NOW - timedelta(days=3)).isoformat()},
    "status": {
        "phase": "Standby", "message": "nothing waits", "source": "Salesforce/blip",
        "copies": {"summary": "0/1"}, "queue": {"total": 12, "wait": "40s"},
        "performance": {"p50Seconds": 0.12345},
        "conditions": [{"type": "Loaded", "status": "False"}, {"type": "Ready", "status": "True"}],
    },
}  # fmt: skip


def test_a_model_is_one_row_of_the_crds_columns() -> None:
    heads, row = rows(find_kind("capm"), [MODEL], NOW)
    assert heads == ["NAME", "READY", "STATUS", "COPIES", "QUEUED", "WAIT", "AGE"]
    assert row == ["blip", "True", "Standby", "0/1", "12", "40s", "3d"]


def test_a_model_on_its_way_says_how_far_it_is() -> None:
    status = {"phase": "Downloading", "download": {"percent": 36}}
    [_, row] = rows(find_kind("capm"), [{"metadata": {"name": "new"}, "status": status}], NOW)
    assert row[2] == "Downloading 36%"


def test_wide_adds_where_it_comes_from_and_why() -> None:
    heads, row = rows(find_kind("models"), [MODEL], NOW, wide=True)
    assert heads[-4:] == ["SOURCE", "REVISION", "P50", "MESSAGE"]
    assert row[-4:] == ["Salesforce/blip", "-", "0.123", "nothing waits"]


def test_a_model_without_status_is_all_dashes() -> None:
    [_, row] = rows(find_kind("model"), [{"metadata": {"name": "new"}}], NOW)
    assert row == ["new", "-", "-", "-", "-", "-", "-"]


def test_a_condition_is_found_by_its_type() -> None:
    assert value_at(MODEL, ".status.conditions[?(@.type=='Ready')].status") == "True"
    assert value_at(MODEL, ".status.conditions[?(@.type=='Cached')].status") is None


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(Trouble, match="models, pools, workers, jobs") as caught:
        find_kind("podels")
    assert caught.value.code is Exit.USAGE


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (200000, "2d")]
)
def test_ages_are_short(seconds: int, said: str) -> None:
    assert age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == said
    assert age((NOW - timedelta(seconds=seconds)).timestamp(), NOW) == said


@given(st.integers(0, 2**60))
def test_sizes_are_short(count: int) -> None:
    assert len(size(count)) <= 12
