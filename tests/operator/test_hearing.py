"""What the operator makes of heartbeats and demand as time passes."""

from tests.operator.fleets import copy, worker

from captionfleet.messages import Demand, Heartbeat, ModelDemand, Override, Wanted
from captionfleet_operator.hearing import Hearing


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def beat(id_: str = "cpu-1", **facts: object) -> Heartbeat:
    return worker(id_).heartbeat.model_copy(update=facts)


def demand(backend: str, **totals: int) -> Demand:
    models = {name: ModelDemand(pending=total, released=1) for name, total in totals.items()}
    return Demand(backend=backend, models=models)


def asked(model: str, state: str, at: float, incarnation: str = "1") -> Override:
    return Override(
        worker="cpu-1", incarnation=incarnation, model=model, state=Wanted(state), asked_at=at
    )


def test_the_later_word_of_two_backends_counts() -> None:
    hearing, seen = Hearing(Clock()), worker("cpu-1")
    life = seen.heartbeat.incarnation

    assert hearing.demand(Demand(backend="one", overrides=[asked("a", "loaded", 5, life)]))
    assert hearing.demand(Demand(backend="two", overrides=[asked("a", "absent", 9, life)]))

    assert hearing.overrides({"cpu-1": seen}) == {"cpu-1": {"a": Wanted.ABSENT}}


def test_what_was_asked_of_an_earlier_life_of_a_worker_is_over() -> None:
    hearing = Hearing(Clock())
    hearing.demand(Demand(backend="one", overrides=[asked("a", "loaded", 5, "an earlier one")]))

    assert hearing.overrides({"cpu-1": worker("cpu-1")}) == {}


def test_an_api_that_read_earlier_and_speaks_later_takes_nothing_back() -> None:
    clock = Clock()
    hearing, seen = Hearing(clock), worker("cpu-1")
    word = asked("a", "loaded", 5, seen.heartbeat.incarnation)
    hearing.demand(Demand(backend="one", as_of=8, overrides=[word]))

    assert not hearing.demand(Demand(backend="one", as_of=7))
    assert hearing.overrides({"cpu-1": seen}) == {"cpu-1": {"a": Wanted.LOADED}}
    clock.now += 11
    assert hearing.demand(Demand(backend="one", as_of=2)), "restored from an older state"
    assert hearing.overrides({"cpu-1": seen}) == {}


def test_a_heartbeat_that_only_tells_the_time_wakes_nobody() -> None:
    hearing = Hearing(Clock())

    assert hearing.heartbeat(beat())
    assert not hearing.heartbeat(beat(sent_at=2.0, memory_used=17))
    assert hearing.heartbeat(beat(copies=[copy("a", "loading")]))
    assert hearing.heartbeat(beat(copies=[copy("a", "ready")]))


def test_age_counts_from_arrival_and_not_from_the_sender() -> None:
    clock = Clock()
    hearing = Hearing(clock)
    hearing.heartbeat(beat(sent_at=9e9))
    clock.now += 4

    assert hearing.workers({"cpu-1"}, set())["cpu-1"].silent_seconds == 4


def test_a_worker_that_says_goodbye_is_gone() -> None:
    hearing = Hearing(Clock())
    hearing.heartbeat(beat())

    assert hearing.heartbeat(beat(gone=True))
    assert hearing.workers({"cpu-1"}, set()) == {}


def test_a_silent_worker_is_forgotten_unless_it_is_ours() -> None:
    clock = Clock()
    hearing = Hearing(clock)
    hearing.heartbeat(beat("cpu-1"))
    hearing.heartbeat(beat("theirs"))
    clock.now += 31

    assert hearing.workers({"cpu-1"}, set()).keys() == {"cpu-1"}


def test_a_worker_is_draining_if_it_says_so_or_if_it_was_told_to() -> None:
    hearing = Hearing(Clock())
    hearing.heartbeat(beat("cpu-1", draining=True))
    hearing.heartbeat(beat("cpu-2"))

    seen = hearing.workers({"cpu-1", "cpu-2"}, {"cpu-2"})

    assert [each.draining for each in seen.values()] == [True, True]


def test_demand_wakes_when_a_model_s_work_begins() -> None:
    hearing = Hearing(Clock())

    assert hearing.demand(demand("one", a=0))
    assert not hearing.demand(demand("one", a=7))
    assert hearing.demand(demand("one", a=7, b=1))


def test_the_demand_of_two_apis_adds_up_and_that_of_one_database_counts_once() -> None:
    hearing = Hearing(Clock())
    hearing.demand(demand("one", a=3))
    hearing.demand(demand("one", a=5))
    hearing.demand(demand("two", a=2))

    total = hearing.total_demand()["a"]

    assert (total.pending, total.released) == (7, 2)


def test_demand_is_stale_until_an_api_spoke_and_again_when_one_falls_silent() -> None:
    clock = Clock()
    hearing = Hearing(clock)
    assert not hearing.demand_is_fresh()
    hearing.demand(demand("one"))
    assert hearing.demand_is_fresh()
    clock.now += 31
    hearing.demand(demand("two"))

    assert not hearing.demand_is_fresh()


def test_an_api_that_never_comes_back_is_forgotten_if_another_speaks() -> None:
    clock = Clock()
    hearing = Hearing(clock)
    hearing.demand(demand("one", a=5))
    clock.now += 601
    assert hearing.total_demand()["a"].pending == 5
    hearing.demand(demand("two", a=1))

    assert hearing.total_demand()["a"].pending == 1
    assert hearing.demand_is_fresh()
