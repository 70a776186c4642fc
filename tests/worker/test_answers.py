"""Answers: confirmed first, acked then, and never in the way of the next batch."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs
from tests.conftest import eventually
from tests.worker.stand_ins import Desk, Workshop, wanted

from captionfleet.broker.link import Link, NotConfirmed
from captionfleet.messages import CopyState
from captionfleet_worker.live_copy import LiveCopy, Workplace


class DoubtfulLink:
    """A link that holds results back, or says that they were not confirmed."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.open = asyncio.Event()
        self.refusals = 0
        self.asked = 0

    async def publish(self, exchange: str, key: str, body: bytes, **how: Any) -> None:
        self.asked += 1
        await self.open.wait()
        if self.refusals:
            self.refusals -= 1
            raise NotConfirmed("provoked")
        await self.link.publish(exchange, key, body, **how)


@pytest.fixture
async def doubtful(link: Link) -> DoubtfulLink:
    return DoubtfulLink(link)


@pytest.fixture
async def copy(
    place: Workplace, link: Link, doubtful: DoubtfulLink, desk: Desk
) -> AsyncIterator[LiveCopy]:
    copy = LiveCopy("m", wanted(), None, replace(place, link=cast("Link", doubtful)))
    await eventually(lambda: copy.state == CopyState.READY)
    await copy.open(await link.connected())
    yield copy
    doubtful.open.set()
    await copy.unload()


async def test_the_next_batch_runs_while_results_are_on_their_way(
    desk: Desk, copy: LiveCopy, workshop: Workshop, doubtful: DoubtfulLink
) -> None:
    await desk.send(b"first")
    await eventually(lambda: doubtful.asked == 1)
    await desk.send(b"second")
    await eventually(lambda: workshop.batches == [[b"first"], [b"second"]])
    assert desk.results == []


async def test_a_task_is_held_until_its_result_is_confirmed(
    desk: Desk, copy: LiveCopy, doubtful: DoubtfulLink
) -> None:
    await desk.send(b"cat")
    await eventually(lambda: doubtful.asked == 1)
    assert len(copy.held_tokens) == 1
    assert copy.running_tokens == []
    doubtful.open.set()
    await eventually(lambda: not copy.held_tokens)
    assert len(desk.results) == 1


async def test_a_result_that_was_not_confirmed_is_published_again(
    desk: Desk, copy: LiveCopy, doubtful: DoubtfulLink
) -> None:
    doubtful.refusals = 1
    doubtful.open.set()
    [cat] = await desk.send(b"cat")
    await eventually(lambda: not copy.held_tokens and desk.results)
    assert desk.outcomes() == {cat: "a cat"}
    assert doubtful.asked == 2
    assert await desk.left() == 0


async def test_a_task_that_fails_is_found_in_the_log_by_its_id(
    desk: Desk, copy: LiveCopy, doubtful: DoubtfulLink
) -> None:
    doubtful.open.set()
    with capture_logs() as logs:
        [task] = await desk.send(b"cat", sha256="0" * 64)
        await eventually(lambda: desk.results)
    assert {
        "event": "task failed", "log_level": "warning",
        "model": "m", "task": task, "code": "bad_picture",
    } in logs  # fmt: skip


async def test_an_unloading_copy_waits_for_its_last_confirms(
    desk: Desk, copy: LiveCopy, doubtful: DoubtfulLink
) -> None:
    [cat] = await desk.send(b"cat")
    await eventually(lambda: doubtful.asked == 1)
    unloading = asyncio.create_task(copy.unload())
    await eventually(lambda: copy.state == CopyState.UNLOADING)
    assert not unloading.done()
    doubtful.open.set()
    await unloading
    await eventually(lambda: desk.outcomes() == {cat: "a cat"})
    assert await desk.left() == 0
