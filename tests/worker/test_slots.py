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


async def test_engines_that_died_together_start_again_in_turn_and_before_new_ones(
    place: Workplace, workshop: Workshop
) -> None:
    served = [LiveCopy(name, wanted(), None, place) for name in "ab"]
    await eventually(lambda: all(each.state == CopyState.READY for each in served))
    workshop.may_load.clear()
    new = [LiveCopy(name, wanted(), None, place) for name in "cd"]
    await eventually(lambda: new[1].view().message == WAITS.format(1))
    for engine in workshop.engines:
        engine.alive = False
    restarts = asyncio.gather(*(each.restart() for each in served))
    await eventually(lambda: all(each.view().message == WAITS.format(1) for each in served))
    assert [order.model for order in workshop.orders] == ["a", "b", "c"]
    workshop.may_load.set()
    await restarts
    await eventually(lambda: new[1].state == CopyState.READY)
    assert {order.model for order in workshop.orders[3:5]} == {"a", "b"}
    for each in served + new:
        await each.unload()


async def taken(slots: Slots, until: asyncio.Event) -> None:
    async with slots.one(lambda: None):
        await until.wait()


async def test_who_is_cancelled_at_the_moment_of_its_turn_passes_it_on() -> None:
    slots, until, never = Slots(), asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(taken(slots, until))
    second = asyncio.create_task(taken(slots, never))
    third = asyncio.create_task(taken(slots, until))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second.cancel()  # its turn has come, and it has not heard so
    until.set()
    await asyncio.wait_for(third, 5)


async def test_who_is_cancelled_while_it_waits_takes_no_turn() -> None:
    slots, until = Slots(), asyncio.Event()
    first, second, third = (asyncio.create_task(taken(slots, until)) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    until.set()
    await asyncio.wait_for(asyncio.gather(first, third), 5)
