"""Promises the planner keeps in every fleet: hypothesis makes fleets, a simulator plays them."""

from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from tests.operator.fleets import GB, model, pool
from tests.operator.simulator import Nature, Simulation

from captionfleet.messages import CopyState, Wanted
from captionfleet.resources.model import Prove
from captionfleet_operator.planner import Memory, Plan, WorkerSeen, World
from captionfleet_operator.planner.fitting import pools_for
from captionfleet_operator.planner.rooms import told
from captionfleet_operator.planner.seen import at_work

NAMES = ("a", "b", "c", "d")
COUNTS = st.sampled_from([1, 3, 10, 100])
often = settings(
    max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


@st.composite
def residencies(draw: st.DrawFn, idle: tuple[int, ...]) -> dict[str, Any]:
    least = draw(st.sampled_from([0, 0, 1, 2]))
    young = draw(st.sampled_from([0, 10, 30]))
    return {
        "policy": draw(st.sampled_from(["OnDemand", "Pinned"])) if least else "OnDemand",
        "minCopies": least,
        "maxCopies": draw(st.integers(max(least, 1), 3)),
        "minResidencySeconds": young,
        "idleUnloadSeconds": young + draw(st.sampled_from(idle)),
        "priority": draw(st.sampled_from([10, 50, 90])),
    }


@st.composite
def fleets(
    draw: st.DrawFn, *, idle: tuple[int, ...] = (10, 40), fetch: tuple[float, ...] = ()
) -> Simulation:
    """`idle`: seconds after which copies may be unloaded; long ones make memory scarce. `fetch`:
    seconds that downloads take; without any all files are there."""
    natures = {
        name: Nature(
            bytes=draw(st.integers(1, 6)) * GB // 2,
            load_seconds=draw(st.sampled_from([2.0, 8.0, 20.0])),
            rate=draw(st.sampled_from([0.5, 2.0, 10.0])),
            fails_on=frozenset(draw(st.sets(st.sampled_from(["cpu-1", "cpu-2"]), max_size=2))),
            reason=draw(st.sampled_from(["OutOfMemory", "MissingWeights"])),
            fetch_seconds=draw(st.sampled_from(fetch)) if fetch else 0.0,
        )
        for name in NAMES[: draw(st.sampled_from([1, 2, 3, 4, 4, 4]))]
    }
    models = {
        name: model(
            name,
            residency=draw(residencies(idle)),
            requirements={"memory": str(nature.bytes)},
            suspend=draw(st.sampled_from([False, False, False, True])),
            acceptance={"prove": draw(st.sampled_from(["OnApply", "OnFirstUse"]))},
        )
        for name, nature in natures.items()
    }
    pools = {
        name: pool(
            name,
            shares_memory=draw(st.booleans()),
            hosting={
                "maxModels": draw(st.integers(1, 4)),
                "maxConcurrentLoads": draw(st.integers(1, 2)),
            },
            autoscaling={
                "minReplicas": draw(st.integers(0, 1)),
                "maxReplicas": draw(st.sampled_from([1, 1, 2, 4])),
                "targetBacklogSeconds": draw(st.sampled_from([5, 30])),
                "scaleUp": {"stabilizationSeconds": draw(st.sampled_from([0, 6])), "maxStep": 2},
                "scaleDown": {"stabilizationSeconds": draw(st.sampled_from([0, 20]))},
                "scaleToZeroAfterSeconds": draw(st.sampled_from([10, 30])),
            },
        )
        for name in ("cpu", "more")[: draw(st.sampled_from([1, 1, 2]))]
    }
    return Simulation(
        models, natures, pools, memory_per_worker=draw(st.sampled_from([2, 3, 4, 8])) * GB
    )


ASKED = st.tuples(
    st.sampled_from(["cpu-1", "cpu-2", "more-1"]),
    st.sampled_from(NAMES),
    st.sampled_from([Wanted.LOADED, Wanted.LOADED, Wanted.CACHED, Wanted.ABSENT, None]),
)
CHANGES = st.tuples(st.sampled_from(NAMES), st.integers(1, 6))


@st.composite
def events(draw: st.DrawFn, *, people: bool = True) -> list[tuple[str, Any]]:
    """What happens before each step of a trace. `people`: they ask workers, and change specs."""
    one = st.one_of(
        st.tuples(st.just("nothing"), st.integers(1, 10)),
        st.tuples(st.just("tasks"), st.tuples(st.sampled_from(NAMES), COUNTS)),
        st.tuples(st.just("tasks"), st.tuples(st.sampled_from(NAMES), COUNTS)),
        st.tuples(st.just("crash"), st.sampled_from(["cpu-1", "cpu-2", "more-1"])),
        st.tuples(st.just("operator restarts"), st.none()),
        st.tuples(st.just("broker is lost"), st.integers(1, 5)),
    )
    words = st.one_of(
        st.tuples(st.just("person asks"), ASKED), st.tuples(st.just("spec changes"), CHANGES)
    )
    return draw(st.lists(st.one_of(one, one, words) if people else one, min_size=10, max_size=40))


def play(fleet: Simulation, trace: list[tuple[str, Any]]) -> None:
    for what, about in trace:
        for _ in range(about - 1 if what == "nothing" else 0):
            step(fleet)
        if what == "tasks" and about[0] in fleet.models:
            fleet.pending[about[0]] = fleet.pending.get(about[0], 0) + about[1]
        elif what == "crash":
            fleet.crash(about)
        elif what == "operator restarts":
            fleet.restart_operator()
        elif what == "person asks" and about[1] in fleet.models:
            fleet.ask(*about)
        elif what == "spec changes" and about[0] in fleet.models:
            fleet.change(about[0], bytes=about[1] * GB // 2)
        elif what == "broker is lost":
            fleet.lose_broker(about)
        step(fleet)


def step(fleet: Simulation) -> Plan:
    """One step, after which every promise is checked."""
    world, before, decided = fleet.step()
    memory_is_never_exceeded(fleet)
    pools_keep_their_bounds(world, decided)
    for worker in world.workers:
        if worker in decided.assignments:
            limits_of_a_worker_hold(world, before, decided, worker)
            nothing_is_torn_away(world, before, decided, worker)
    pins_stay(world, before, decided)
    proofs_take_nothing_that_is_wanted(world, before, decided)
    nothing_moves_without_a_broker(world, before, decided)
    every_wait_has_its_reason(world, decided)
    people_are_obeyed_or_told_why(world, decided)
    changes_leave_no_gap(fleet)
    return decided


def people_are_obeyed_or_told_why(world: World, decided: Plan) -> None:
    for worker, asked in world.overrides.items():
        for name, state in asked.items():
            if worker not in decided.assignments:
                continue
            told = decided.overrides[worker][name]
            assert told.message
            kept = name in keeping(decided, worker)
            if state == Wanted.LOADED:
                assert kept or not told.done
            elif not world.workers[worker].draining:
                assert not kept, f"{name} was to be kept away from {worker}"
                assert decided.assignments[worker][name] == state


def changes_leave_no_gap(fleet: Simulation) -> None:
    """A copy beside which a successor loads serves until that one is ready."""
    for worker in fleet.workers.values():
        for copy in worker.copies.values():
            other = copy.beside
            assert other is None or CopyState.READY in (copy.state, other.state)


def memory_is_never_exceeded(fleet: Simulation) -> None:
    limit = fleet.memory_per_worker * 85 // 100
    for host, taken in fleet.loaded_bytes().items():
        assert taken <= limit, f"{host} holds {taken} bytes of {limit}"


def pools_keep_their_bounds(world: World, decided: Plan) -> None:
    for name, planned in decided.pools.items():
        auto = world.pools[name].spec.autoscaling
        assert auto.min_replicas <= planned.workers <= auto.max_replicas
        staying = len(world.pools[name].staying) - len(planned.drain)
        assert staying <= auto.max_replicas
        assert not planned.drain or staying >= auto.min_replicas


def limits_of_a_worker_hold(world: World, before: Memory, decided: Plan, worker: str) -> None:
    seen, wanted = world.workers[worker], keeping(decided, worker)
    hosting = world.pools[seen.pool].spec.hosting
    there = {name for name, copy in seen.copies.items() if copy.state != CopyState.FAILED}
    assert len(wanted) <= hosting.max_models
    begun = [name for name in wanted if name not in seen.copies]
    # What was told before it began anew, it loads in turn by itself.
    fresh = set(begun) - told(before, seen)
    running = [n for n, copy in seen.copies.items() if copy.state == CopyState.LOADING]
    if fresh:
        assert len(wanted | there) <= hosting.max_models
        assert len(begun) + len(set(running) & wanted) <= hosting.max_concurrent_loads


def nothing_is_torn_away(world: World, before: Memory, decided: Plan, worker: str) -> None:
    """No copy at work is unloaded, and no young one but above maxCopies."""
    seen = world.workers[worker]
    for name in (told(before, seen) & world.models.keys()) - keeping(decided, worker):
        copy, residency = seen.copies.get(name), world.models[name].residency
        if copy is None or copy.state != CopyState.READY or world.models[name].spec.suspend:
            continue
        if world.override(worker, name) in (Wanted.CACHED, Wanted.ABSENT):
            continue  # a person's word
        assert not at_work(copy), f"{name} was at work on {worker}"
        above = len(world.copies_of(name)) > residency.max_copies
        assert above or copy.state_seconds >= residency.min_residency_seconds


def pins_stay(world: World, before: Memory, decided: Plan) -> None:
    """Copies up to the pin are never taken from workers that stay, but for a person's word."""
    staying = [
        w
        for w in world.workers.values()
        if w.open and w.id in decided.assignments and not _asked_in(world, w)
    ]
    for name, seen in world.models.items():
        had = [w.id for w in staying if name in told(before, w) and is_ready(w.copies.get(name))]
        has = [worker for worker in had if name in keeping(decided, worker)]
        assert len(has) >= min(seen.floor, len(had)), f"{name} lost a pinned copy"


def _asked_in(world: World, worker: WorkerSeen) -> bool:
    """A person asked something of the worker, or of one that shares its memory."""
    return any(
        other.memory_domain == worker.memory_domain and world.overrides.get(other.id)
        for other in world.workers.values()
    )


def proofs_take_nothing_that_is_wanted(world: World, before: Memory, decided: Plan) -> None:
    for gone in decided.evictions:
        winner, victim = world.models[gone.winner], world.models[gone.model]
        if world.total(gone.winner) or winner.floor:
            continue
        if any(asked.get(gone.winner) == Wanted.LOADED for asked in world.overrides.values()):
            continue
        told_to = [
            worker for worker in world.workers.values() if gone.model in told(before, worker)
        ]
        assert not world.total(gone.model), f"{gone.model} had tasks"
        assert len(told_to) > max(victim.floor, victim.residency.min_copies)


def nothing_moves_without_a_broker(world: World, before: Memory, decided: Plan) -> None:
    if not world.broker_trouble:
        return
    assert decided.assignments == {}
    for name, planned in decided.pools.items():
        known = before.pools.get(name)
        assert planned.drain == ()
        assert known is None or planned.workers == max(
            known.size, world.pools[name].spec.autoscaling.min_replicas
        )


def is_ready(copy: Any) -> bool:
    return copy is not None and copy.state == CopyState.READY


def every_wait_has_its_reason(world: World, decided: Plan) -> None:
    for name in world.models:
        sentence = decided.waiting[name]
        assert sentence
        if world.settled and world.total(name):
            assert "when pictures wait" not in sentence, "they do wait"


def keeping(decided: Plan, worker: str) -> set[str]:
    wanted = decided.assignments[worker]
    return {name for name, state in wanted.items() if state == Wanted.LOADED}


def statuses(decided: Plan) -> object:
    return decided.model_statuses, decided.pool_statuses


def shape(decided: Plan) -> object:
    """What a plan makes happen, without its sentences."""
    sizes = {name: (each.workers, each.drain) for name, each in decided.pools.items()}
    return sizes, decided.assignments


@often
@given(fleets(idle=(10, 600), fetch=(0.0, 10.0)), events())
def test_no_promise_is_broken_on_the_way(fleet: Simulation, trace: list[tuple[str, Any]]) -> None:
    play(fleet, trace)


@often
@given(fleets(), events())
def test_a_fleet_left_alone_comes_to_rest_and_a_restarted_operator_leaves_it_there(
    fleet: Simulation, trace: list[tuple[str, Any]]
) -> None:
    play(fleet, trace)
    fleet.pending.clear()
    heal(fleet)
    for _ in range(100):
        step(fleet)
    resting = step(fleet)

    for turn in range(20):
        if turn == 10:
            fleet.restart_operator()
        following = step(fleet)
        if following.assignments:
            assert shape(following) == shape(resting)
            assert statuses(following) == statuses(resting), "a write at rest"


@often
@given(fleets(), events())
def test_whatever_can_be_proven_is_in_the_end(
    fleet: Simulation, trace: list[tuple[str, Any]]
) -> None:
    heal(fleet)
    play(fleet, trace)
    fleet.overrides.clear()
    for _ in range(1500):
        if not any(unproven(fleet)):
            break
        step(fleet)
    note(str(fleet.decided.waiting if fleet.decided else ""))

    assert not list(unproven(fleet))


@often
@given(fleets(), events())
def test_a_steady_demand_gives_a_steady_plan(
    fleet: Simulation, trace: list[tuple[str, Any]]
) -> None:
    play(fleet, trace)
    heal(fleet)
    fleet.frozen_demand = True
    for _ in range(90):
        step(fleet)

    steady = shape(step(fleet))

    assert all(shape(step(fleet)) == steady for _ in range(20))


@often
@given(fleets(fetch=(0.0, 10.0)), events())
def test_whatever_can_be_captioned_is_in_the_end(
    fleet: Simulation, trace: list[tuple[str, Any]]
) -> None:
    play(fleet, trace)
    heal(fleet)
    fleet.overrides.clear()
    for _ in range(1500):
        if not any(possible(fleet, name) for name in fleet.pending):
            break
        step(fleet)
    note(str(fleet.decided.waiting if fleet.decided else ""))

    assert not [name for name in fleet.pending if possible(fleet, name)]


def unproven(fleet: Simulation) -> Iterator[str]:
    """Models to be proven on apply that are not yet, and could be."""
    for name, seen in fleet.models.items():
        on_apply = seen.spec.acceptance.prove == Prove.ON_APPLY
        kept = [each for each in fleet.models if fleet.models[each].residency.min_copies]
        if on_apply and fleet.memory.proven.get(name) is None and possible(fleet, name, kept):
            yield name


def heal(fleet: Simulation) -> None:
    """From now on every load succeeds."""
    fleet.natures = {
        name: Nature(nature.bytes, nature.load_seconds, nature.rate)
        for name, nature in fleet.natures.items()
    }


def possible(fleet: Simulation, name: str, staying: list[str] | None = None) -> bool:
    """It is not suspended, and fits beside everything that stays: what is pinned, if not told."""
    seen, world = fleet.models[name], fleet.world()
    pinned = [other for other, each in fleet.models.items() if each.floor]
    pins = [other for other in (pinned if staying is None else staying) if other != name]
    needed = sum(fleet.natures[other].bytes for other in [name, *pins])
    # Workers of one machine share its memory, and each may hold one more copy of a pin.
    most = max(
        each.residency.min_copies if staying else each.floor for each in fleet.models.values()
    )
    shared = len(fleet.models) * most
    room = fleet.memory_per_worker * 85 // 100
    return bool(
        not seen.spec.suspend
        and pools_for(world, seen)
        and all(p.spec.hosting.max_models > len(pins) for p in fleet.pools.values())
        and needed + shared * max(n.bytes for n in fleet.natures.values()) <= room
    )
