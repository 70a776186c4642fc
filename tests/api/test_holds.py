"""A model whose queue is missing is left alone for a while, ever longer."""

from captionfleet_api.jobs.holds import Holds


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_hold_lasts_twice_as_long_up_to_ten_seconds() -> None:
    clock = Clock()
    holds, lasted = Holds(clock), []
    for _ in range(6):
        begun = clock.now
        holds.hold("m")
        while "m" in holds:
            clock.now += 0.5
        lasted.append(clock.now - begun)
    assert lasted == [1, 2, 4, 8, 10, 10]


def test_many_refusals_at_once_are_one_hold() -> None:
    clock = Clock()
    holds = Holds(clock)
    for _ in range(20):
        holds.hold("m")
    clock.now += 1
    assert "m" not in holds


def test_a_task_that_was_taken_ends_the_hold() -> None:
    holds = Holds(Clock())
    holds.hold("m")
    assert "no queue" in holds.sentences()["m"]
    holds.free("m")
    assert "m" not in holds
    assert holds.sentences() == {}
