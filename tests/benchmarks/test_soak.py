"""What the soak calls flat: no growth in its second half, whatever the first one took."""

from benchmarks.soak import flat


def test_a_few_megabytes_more_are_flat() -> None:
    assert flat({"agent": 80, "api": 220}, {"agent": 84, "api": 230})


def test_growth_by_more_than_five_percent_and_five_megabytes_is_not() -> None:
    assert not flat({"agent": 80, "api": 220}, {"agent": 80, "api": 232})
    assert not flat({"agent": 80, "api": 220}, {"agent": 86, "api": 220})
