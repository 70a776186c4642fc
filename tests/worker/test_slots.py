"""Copies fetch and load in turn, and start again in turn."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.conftest import eventually
from tests.worker.agents import working
from tests.worker.stand_ins import Operator, Workshop, wanted

from captionfleet.messages import CopyState, ModelAssignment
from captionfleet_worker.agent import Agent
from captionfleet_worker.engine_process import EngineOrder
from captionfleet_worker.fetcher import Tell
from captionfleet_worker.live_copy import LiveCopy, Workplace
from captionfleet_worker.settings import WorkerSettings
from captionfleet_worker.slots import Slots

WAITS = "waits until another model has loaded here (hosting.maxConcurrentLoads is {})"
WAITS_AGAIN = "waits until another model has started again here (hosting.maxConcurrentLoads is {})"


def on_hub(name: str) -> ModelAssignment:
    return wanted({"source": {"huggingFace": {"repo": f"test/{name}"}}})


@dataclass
class Hub:
    """Brings files once it may."""

    folder: Path
    may_fetch: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)

    async def supply(self, order: EngineOrder, tell: Tell) -> EngineOrder:
        if not order.spec.source:
            return order
        self.asked.append(order.model)
        tell("fetching", None)
        await self.may_fetch.wait()
        return replace(order, files=self.folder)

    async def fetch(self, model: str, asked: ModelAssignment, tell: Tell) -> None:
        raise NotImplementedError("no test asks for files")


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path)


@pytest.fixture
async def agent(
    settings: WorkerSettings, workshop: Workshop, operator: Operator, hub: Hub
) -> AsyncIterator[Agent]:
    async with working(settings, workshop, hub) as agent:
        await eventually(lambda: operator.heartbeats)
        yield agent


def told(operator: Operator, model: str) -> tuple[CopyState, str | None] | None:
    copy = operator.copy(model)
    return (copy.state, copy.message) if copy else None


def loading(workshop: Workshop) -> list[str]:
    return sorted(order.model for order in workshop.orders)


async def test_as_many_load_at_a_time_as_the_operator_allows(
    agent: Agent, operator: Operator, workshop: Workshop
) -> None:
    workshop.may_load.clear()
    models = {name: wanted() for name in "abcd"}
    await operator.assign(models, loads=2)
    await eventually(lambda: told(operator, "d") == (CopyState.LOADING, WAITS.format(2)))
    assert loading(workshop) == ["a", "b"]
    await operator.assign(models, loads=3)
    await eventually(lambda: loading(workshop) == ["a", "b", "c"])
    workshop.may_load.set()
    await eventually(lambda: all(operator.state(name) == CopyState.READY for name in "abcd"))


async def test_a_download_keeps_no_other_model_from_loading(
    agent: Agent, operator: Operator, workshop: Workshop, hub: Hub
) -> None:
    models = {"d": on_hub("d"), "e": wanted()}
    await operator.assign(models)
    await eventually(lambda: operator.state("e") == CopyState.READY)
    assert told(operator, "d") == (CopyState.DOWNLOADING, "fetching")
    workshop.may_load.clear()
    await operator.assign(models | {"f": wanted()})
    await eventually(lambda: loading(workshop) == ["e", "f"])
    hub.may_fetch.set()
    await eventually(lambda: told(operator, "d") == (CopyState.LOADING, WAITS.format(1)))
    workshop.may_load.set()
    await eventually(lambda: operator.state("d") == operator.state("f") == CopyState.READY)


async def test_models_are_fetched_one_after_the_other(
    agent: Agent, operator: Operator, hub: Hub
) -> None:
    await operator.assign({"a": on_hub("a"), "b": on_hub("b")})
    waits = (CopyState.DOWNLOADING, "waits until other models' files are fetched")
    await eventually(lambda: told(operator, "b") == waits)
    assert hub.asked == ["a"]
    hub.may_fetch.set()
    await eventually(lambda: operator.state("b") == CopyState.READY)


async def test_engines_that_died_together_start_again_in_turn(
    place: Workplace, workshop: Workshop
) -> None:
    served = [LiveCopy(name, wanted(), None, place) for name in "abc"]
    await eventually(lambda: all(each.state == CopyState.READY for each in served))
    workshop.may_load.clear()
    for engine in workshop.engines:
        engine.alive = False
    restarts = asyncio.gather(*(each.restart() for each in served))
    messages = ["loading the stand-in", WAITS_AGAIN.format(1), WAITS_AGAIN.format(1)]
    await eventually(lambda: [each.view().message for each in served] == messages)
    assert len(workshop.orders) == 4
    workshop.may_load.set()
    await restarts
    assert [order.model for order in workshop.orders[3:]] == ["a", "b", "c"]
    for each in served:
        await each.unload()


async def test_a_model_that_served_starts_again_beside_the_first_load_of_another(
    place: Workplace, workshop: Workshop
) -> None:
    served = LiveCopy("served", wanted(), None, place)
    await eventually(lambda: served.state == CopyState.READY)
    workshop.may_load.clear()
    new = [LiveCopy(name, wanted(), None, place) for name in ("new", "newer")]
    await eventually(lambda: new[1].view().message == WAITS.format(1))
    workshop.engines[0].alive = False
    restart = asyncio.create_task(served.restart())
    await eventually(lambda: loading(workshop) == ["new", "served", "served"])
    workshop.may_load.set()
    await restart
    for each in [served, *new]:
        await each.unload()


async def taken(slots: Slots, until: asyncio.Event, begun: list[str], name: str) -> None:
    async with slots.one(lambda: None):
        begun.append(name)
        await until.wait()


async def test_who_is_cancelled_at_the_moment_of_its_turn_passes_it_on() -> None:
    slots, until, begun = Slots(), asyncio.Event(), list[str]()
    tasks = [
        asyncio.create_task(taken(slots, until, begun, name))
        for name in ("first", "second", "third", "fourth")
    ]
    await eventually(lambda: begun == ["first"])
    slots.allow(2)
    tasks[1].cancel()  # its turn has come, and it has not heard so
    await eventually(lambda: tasks[1].done() and begun == ["first", "third"])
    until.set()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert begun == ["first", "third", "fourth"]


async def test_who_is_cancelled_while_it_waits_takes_no_turn() -> None:
    slots, until, begun = Slots(), asyncio.Event(), list[str]()
    first, second, third = (
        asyncio.create_task(taken(slots, until, begun, name))
        for name in ("first", "second", "third")
    )
    await eventually(lambda: begun == ["first"])
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    await asyncio.sleep(0)  # a turn that was given now would begin
    assert begun == ["first"]
    until.set()
    await asyncio.wait_for(asyncio.gather(first, third), 5)


def nobody_hears() -> None:
    raise ValueError("nobody hears it")


async def test_who_cannot_tell_that_it_waits_takes_no_turn() -> None:
    slots, until, begun = Slots(), asyncio.Event(), list[str]()
    first = asyncio.create_task(taken(slots, until, begun, "first"))
    await eventually(lambda: begun)
    with pytest.raises(ValueError, match="nobody hears"):
        async with slots.one(nobody_hears):
            raise AssertionError("it has no turn")
    until.set()
    await first
    await asyncio.wait_for(taken(slots, until, begun, "third"), 5)
