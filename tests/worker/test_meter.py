"""How far a download is, how fast, and how long it will take."""

from captionfleet_worker.fetching.meter import Meter


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_there_counts_and_what_comes_makes_the_speed() -> None:
    clock = Clock()
    meter = Meter({"a": 1000, "b": 500}, clock)
    meter.at("b", 500)
    assert meter.view().bytes_per_second is None
    for _ in range(4):
        clock.now += 1
        meter.received("a", 100)
    seen = meter.view()
    assert (seen.bytes_done, seen.bytes_total) == (900, 1500)
    assert (seen.files_done, seen.files_total, seen.file) == (1, 2, "a")
    assert (seen.bytes_per_second, seen.seconds_left) == (100, 6)


def test_the_speed_is_that_of_the_last_seconds() -> None:
    clock = Clock()
    meter = Meter({"a": 10_000}, clock)
    for brought in (1000, 1000, 0, 0, 0, 0, 0, 0):
        meter.view()
        clock.now += 1
        meter.received("a", brought)
    stalled = meter.view()
    assert (stalled.bytes_per_second, stalled.seconds_left) == (0, None)


def test_what_had_to_be_thrown_away_is_not_there_any_more() -> None:
    meter = Meter({"a": 1000}, Clock())
    meter.received("a", 900)
    meter.at("a", 0)
    assert meter.view().bytes_done == 0
