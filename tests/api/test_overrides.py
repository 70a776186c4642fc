"""What a person asks of one worker, by REST: kept, told to the operator, ended with the worker."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.doors import Doors, open_doors
from tests.api.flow_parts import copy_of, heartbeat

from captionfleet.messages import OperatorHeartbeat, OverrideState, Wanted
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.overrides import UNHEARD_SECONDS, Overrides, told_overrides


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path) as doors:
        doors.parts.fleet_view.hear(heartbeat(copy_of("alpha"), worker="w1"))
        yield doors


async def ask(doors: Doors, state: str, model: str = "alpha", worker: str = "w1") -> Any:
    path = f"/api/v1/workers/{worker}/overrides/{model}"
    return await doors.client.put(path, json={"state": state})


def operator_says(doors: Doors, wanted: Wanted, message: str, **more: Any) -> None:
    state = OverrideState(wanted=wanted, message=message, **more)
    beat = OperatorHeartbeat(
        operator="operator", incarnation="o", waiting={}, overrides={"w1": {"alpha": state}}
    )
    doors.parts.fleet_view.hear(beat)


async def test_an_override_is_kept_and_shown_with_what_became_of_it(doors: Doors) -> None:
    operator_says(doors, Wanted.LOADED, "loading on w1, 3 s so far")
    answer = await ask(doors, "loaded")
    assert answer.status_code == 200
    assert answer.json()["message"] == "loading on w1, 3 s so far"
    operator_says(doors, Wanted.LOADED, "loaded", done=True)
    [worker] = (await doors.get("/workers"))["items"]
    shown = worker["overrides"]["alpha"]
    assert (shown["state"], shown["done"], shown["refused"]) == ("loaded", True, False)
    assert (await doors.get("/workers/w1/overrides"))["items"] == [shown]


async def test_the_answer_to_an_earlier_word_is_none_to_a_later_one(doors: Doors) -> None:
    operator_says(doors, Wanted.LOADED, "loaded", done=True)
    told = (await ask(doors, "absent")).json()
    assert (told["message"], told["done"]) == ("the operator is being told", False)


async def test_without_an_operator_the_override_says_what_it_waits_for(doors: Doors) -> None:
    told = (await ask(doors, "cached")).json()
    assert told["message"] == "waits for the operator, which was not heard"


async def test_a_released_override_is_gone(doors: Doors) -> None:
    await ask(doors, "loaded")
    path = "/api/v1/workers/w1/overrides/alpha"
    assert (await doors.client.delete(path)).status_code == 204
    [worker] = (await doors.get("/workers"))["items"]
    assert worker["overrides"] == {}
    again = await doors.client.delete(path)
    assert again.status_code == 404
    assert "nothing is asked of worker w1 about alpha" in again.json()["detail"]


async def test_unknown_workers_models_and_states_are_refused_in_words(doors: Doors) -> None:
    nobody = await ask(doors, "loaded", worker="w9")
    assert (nobody.status_code, nobody.json()["detail"]) == (
        404,
        "there is no worker 'w9' now; heard from are w1",
    )
    nothing = await ask(doors, "loaded", model="omega")
    assert (nothing.status_code, nothing.json()["detail"]) == (
        404,
        "there is no CaptionModel 'omega'; known are alpha, beta",
    )
    odd = await ask(doors, "asleep")
    assert (odd.status_code, odd.json()["field"]) == (422, "state")


async def test_a_draining_worker_takes_no_override(doors: Doors) -> None:
    doors.parts.fleet_view.hear(heartbeat(worker="w1", draining=True))
    answer = await ask(doors, "loaded")
    assert answer.status_code == 409
    assert "draining" in answer.json()["detail"]


async def test_an_override_ends_with_the_life_of_its_worker(doors: Doors) -> None:
    await ask(doors, "loaded")
    doors.parts.fleet_view.hear(heartbeat(worker="w1", incarnation="2"))
    assert (await doors.get("/workers"))["items"][0]["overrides"] == {}
    answer = await doors.client.get("/api/v1/workers/w1/overrides/alpha")
    assert answer.status_code == 404
    assert "it ended when the worker's process did" in answer.json()["detail"]
    await doors.parts.overrides.forget_ended()
    assert await told(doors) == []


async def test_what_was_asked_of_a_worker_that_is_gone_for_good_is_forgotten(
    doors: Doors,
) -> None:
    clock = Clock()
    view = FleetView(clock)
    overrides = Overrides(doors.parts.database, view, clock)
    view.hear(heartbeat(worker="w1"))
    await overrides.ask("w1", "1", "alpha", Wanted.LOADED)
    clock.now += 60
    await overrides.forget_ended()
    assert await told(doors) == ["alpha"], "it may only be cut off"
    clock.now += UNHEARD_SECONDS + 1
    await overrides.forget_ended()
    assert await told(doors) == []


async def test_two_apis_of_one_database_tell_the_same_and_later_changes_count_higher(
    doors: Doors, tmp_path: Path
) -> None:
    await ask(doors, "loaded")
    async with doors.parts.database.read() as session:
        first, as_of = await told_overrides(session)
    assert [(each.worker, each.incarnation, each.model) for each in first] == [("w1", "1", "alpha")]
    await ask(doors, "absent")
    async with open_doors(tmp_path) as other, other.parts.database.read() as session:
        second, later = await told_overrides(session)
    assert [each.state for each in second] == [Wanted.ABSENT]
    assert later > as_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def told(doors: Doors) -> list[str]:
    """Models of the overrides that the operator is told."""
    async with doors.parts.database.read() as session:
        return [each.model for each in (await told_overrides(session))[0]]
