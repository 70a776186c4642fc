"""Which tokens a worker knows to be cancelled."""

from captionfleet_worker import cancelled
from captionfleet_worker.cancelled import Cancelled


def test_what_was_told_is_known() -> None:
    known = Cancelled()
    known.add(["a", "b"])
    known.add(["c"])
    assert "a" in known and "c" in known and "d" not in known


def test_the_oldest_are_forgotten_first() -> None:
    known = Cancelled()
    known.add(str(number) for number in range(cancelled._MOST))
    known.add(["new"])
    assert "new" in known and "1" in known and "0" not in known
