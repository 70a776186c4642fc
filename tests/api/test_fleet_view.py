"""What the api knows of the fleet, judged by the time of arrival on its own clock."""

import pytest
from tests.api.flow_parts import copy_of, heartbeat

from captionfleet.messages import CopyState, Disk, Download, OperatorHeartbeat
from captionfleet_api.jobs.fleet_view import FleetView


class Clock:
    """Seconds that pass when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def view(clock: Clock) -> FleetView:
    return FleetView(clock, wall=lambda: 5_000_000 + clock.now)


def test_a_fresh_worker_says_what_it_holds_and_runs(view: FleetView) -> None:
    view.hear(heartbeat(held=["a", "b"], running=["a"]))
    view.hear(heartbeat(worker="v", held=["c"]))
    assert view.held_tokens() == {"a", "b", "c"}
    assert view.running_tokens() == {"a"}


def test_after_three_silent_periods_a_worker_counts_for_nothing(
    view: FleetView, clock: Clock
) -> None:
    view.hear(heartbeat(copy_of("m"), held=["a"], running=["a"]))
    clock.now += 6.1
    assert not view.held_tokens() | view.running_tokens()
    assert view.ready_consumers("m") == view.rate("m") == view.window("m").pictures == 0
    assert [(w.id, w.fresh) for w in view.workers()] == [("w", False)]


def test_after_half_a_minute_it_is_forgotten(view: FleetView, clock: Clock) -> None:
    view.hear(heartbeat())
    clock.now += 30.1
    assert view.workers() == []


def test_a_worker_that_says_goodbye_is_gone_at_once(view: FleetView) -> None:
    view.hear(heartbeat(copy_of("m")))
    assert view.hear(heartbeat(gone=True)) == {"m"}
    assert view.workers() == []


def test_the_clock_of_a_worker_is_not_believed(view: FleetView, clock: Clock) -> None:
    view.hear(heartbeat(sent_at=-1e9))
    clock.now += 2
    assert view.workers()[0].seen_at == 5_001_000


def test_only_ready_consuming_copies_of_staying_workers_count(view: FleetView) -> None:
    view.hear(heartbeat(copy_of("m"), worker="a"))
    view.hear(heartbeat(copy_of("m", consuming=False), worker="b"))
    view.hear(heartbeat(copy_of("m", state=CopyState.LOADING), worker="c"))
    view.hear(heartbeat(copy_of("m"), worker="d", draining=True))
    assert view.ready_consumers("m") == 1
    assert view.rate("m") == 10


def test_a_heartbeat_tells_which_windows_it_changes(view: FleetView) -> None:
    assert view.hear(heartbeat(copy_of("m"), copy_of("n"))) == {"m", "n"}
    assert view.hear(heartbeat(copy_of("m"), copy_of("n"), held=["a"])) == set()
    assert view.hear(heartbeat(copy_of("m", rates={2: 99.0}), copy_of("n"))) == {"m"}
    assert view.hear(heartbeat(copy_of("n"))) == {"m"}


def test_a_revision_is_known_from_a_copy_of_the_same_spec_only(view: FleetView) -> None:
    view.hear(heartbeat(copy_of("m", fingerprint="new", revision="r2")))
    assert view.revision_of("m", "new") == "r2"
    assert view.revision_of("m", "old") is None
    assert view.revision_of("n", "new") is None


def test_held_tasks_are_counted_by_the_model_they_are_for(view: FleetView) -> None:
    view.hear(heartbeat(copy_of("m"), copy_of("n"), held=["a", "b", "c"], running=["a"]))
    view.attribute({"a": "m", "b": "m", "c": "n"})
    assert [(c.model, c.in_flight) for c in view.workers()[0].copies] == [("m", 2), ("n", 1)]


def test_a_download_and_the_disk_below_it_are_shown_as_told(view: FleetView) -> None:
    half = Download(files_done=1, files_total=2, bytes_done=5, bytes_total=10)
    disk = Disk(cache_bytes=5, free_bytes=100, room_bytes=50)
    view.hear(heartbeat(copy_of("m", state=CopyState.DOWNLOADING, download=half), disk=disk))
    [worker] = view.workers()
    assert (worker.copies[0].download, worker.disk) == (half, disk)


def test_the_operator_speaks_for_ten_seconds(view: FleetView, clock: Clock) -> None:
    assert view.operator_seen_seconds() is None
    view.hear(OperatorHeartbeat(operator="o", incarnation="1", waiting={"m": "m loads, 3 s"}))
    clock.now += 9
    assert view.operator_seen_seconds() == 9
    assert view.waiting_sentence("m") == "m loads, 3 s"
    clock.now += 3
    assert "last heard 12 s ago" in view.waiting_sentence("m")


def test_what_the_api_knows_itself_wins_over_the_operator(view: FleetView) -> None:
    view.hear(OperatorHeartbeat(operator="o", incarnation="1", waiting={"m": "m loads, 3 s"}))
    view.explain({"m": "m was deleted"})
    assert view.waiting_sentence("m") == "m was deleted"


def test_a_new_connection_begins_a_new_silence(view: FleetView, clock: Clock) -> None:
    clock.now += 100
    assert "no operator was heard in 100 s" in view.waiting_sentence("m")
    view.listening()
    assert "since 0 s" in view.waiting_sentence("m")
