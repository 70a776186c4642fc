"""A consumer on a real broker: every task answered once, with the right words."""

import asyncio
import shutil

from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from tests.conftest import eventually
from tests.worker.stand_ins import DEADLY, SLOW, STRANGE, Desk, Workshop, wanted

from captionfleet.broker.link import Delivery, Link, Session
from captionfleet.messages import CopyState, Outcome
from captionfleet_worker.device import processor
from captionfleet_worker.engine_process import LoadFailed
from captionfleet_worker.learning import KeptSizes, about
from captionfleet_worker.live_copy import LiveCopy, Workplace


async def opened(copy: LiveCopy, link: Link) -> LiveCopy:
    await eventually(lambda: copy.state == CopyState.READY)
    await copy.open(await link.connected())
    assert copy.view().consuming
    return copy


async def said(desk: Desk, count: int) -> dict[str, str]:
    await eventually(lambda: len(desk.results) >= count, what=f"{count} results")
    return desk.outcomes()


def cancel(place: Workplace, copy: LiveCopy, *tokens: str) -> None:
    """As the agent does when an api tells so."""
    place.cancelled.add(tokens)
    copy.recall()


async def test_pictures_become_captions_with_their_own_tokens(
    desk: Desk, link: Link, copy: LiveCopy
) -> None:
    await opened(copy, link)
    cat, dog = await desk.send(b"cat", b"dog")
    assert await said(desk, 2) == {cat: "a cat", dog: "a dog"}
    result = desk.results[0]
    assert (result.worker, result.revision, result.fingerprint) == ("w1", "revision-1", "f1")
    assert result.outcome == Outcome.CAPTIONED
    assert result.seconds is not None
    await eventually(lambda: not copy.held_tokens)


async def test_tasks_that_wait_while_the_engine_works_share_the_next_batch(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.gate.clear()
    await desk.send(b"first")
    await eventually(lambda: workshop.batches == [[b"first"]])
    await desk.send(b"a", b"b", b"c", b"d")
    await eventually(lambda: len(copy.held_tokens) == 5)
    workshop.gate.set()
    await said(desk, 5)
    assert workshop.batches == [[b"first"], [b"a", b"b", b"c", b"d"]]


async def test_a_full_batch_is_handed_over_while_another_runs(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.gate.clear()
    await desk.send(b"first")
    await eventually(lambda: workshop.batches == [[b"first"]])
    await desk.send(b"a", b"b", b"c")
    await eventually(lambda: len(copy.held_tokens) == 4)
    assert workshop.handed_over == [1]
    await desk.send(b"d")
    await eventually(lambda: workshop.handed_over == [1, 4])
    assert len(copy.running_tokens) == 1
    workshop.gate.set()
    await said(desk, 5)
    assert copy.running_tokens == []


async def test_a_crash_touches_only_the_batch_that_ran(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.gate.clear()
    [poison] = await desk.send(DEADLY)
    await eventually(lambda: workshop.batches)
    await desk.send(b"a", b"b", b"c", b"d")
    await eventually(lambda: workshop.handed_over == [1, 4])
    workshop.gate.set()
    outcomes = await said(desk, 5)
    assert outcomes.pop(poison) == "crashes_the_model"
    assert sorted(outcomes.values()) == ["a a", "a b", "a c", "a d"]
    assert workshop.batches == [[DEADLY], [DEADLY], [b"a", b"b", b"c", b"d"]]


async def test_a_drain_finishes_what_the_engine_has(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.gate.clear()
    await desk.send(b"first")
    await eventually(lambda: workshop.batches)
    await desk.send(b"a", b"b", b"c", b"d", b"e")
    await eventually(lambda: workshop.handed_over == [1, 4] and len(copy.held_tokens) == 6)
    draining = asyncio.create_task(copy.drain())
    await eventually(lambda: "returned" in desk.outcomes().values())
    workshop.gate.set()
    await draining
    assert sorted((await said(desk, 6)).values()) == [
        "a a", "a b", "a c", "a d", "a first", "returned",
    ]  # fmt: skip


async def test_a_new_model_tries_larger_and_larger_batches_and_keeps_the_best(
    desk: Desk, link: Link, place: Workplace, workshop: Workshop, kept_sizes: KeptSizes
) -> None:
    shutil.rmtree(kept_sizes.folder)
    copy = await opened(LiveCopy("m", wanted(), None, place), link)
    workshop.gate.clear()
    await desk.send(*[b"cat"] * 60)
    what = about("revision-1", processor(), 1)
    while not kept_sizes.read(what).chosen:
        await eventually(lambda: len(workshop.handed_over) == len(workshop.batches) + 1)
        begun = len(workshop.handed_over)
        workshop.gate.set()
        workshop.gate.clear()  # one batch has passed, and the next begins
        await eventually(lambda: len(workshop.batches) == begun)  # noqa: B023 - awaited at once
    workshop.gate.set()
    await said(desk, 60)
    assert workshop.handed_over[:2] == [1, 1] and set(copy.view().rates) >= {1, 2, 4}
    # On a busy machine rates swing, and another size may have replaced the first one.
    assert copy.view().batch_size == kept_sizes.read(what).chosen
    await copy.unload()


async def test_short_memory_shortens_batches_and_is_shown(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop, kept_sizes: KeptSizes
) -> None:
    await opened(copy, link)
    workshop.engines[0].batch_limit = 2
    workshop.gate.clear()
    await desk.send(b"first")
    await eventually(lambda: workshop.batches)
    await desk.send(*[b"cat"] * 6)
    await eventually(lambda: len(copy.held_tokens) == 7)
    workshop.gate.set()
    await said(desk, 7)
    assert workshop.handed_over == [1, 4, 2]
    assert (copy.view().max_batch_size, copy.view().batch_size) == (2, 2)
    assert copy.view().message == (
        "memory allows batches of 2, not of 4 (spec.batching.maxBatchSize)"
    )
    assert kept_sizes.read(about("revision-1", processor(), 1)).safe is None


async def test_what_a_copy_logs_names_its_model(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.engines[0].batch_limit = 2
    with capture_logs([merge_contextvars]) as logs:
        await desk.send(b"cat")
        await said(desk, 1)
    [told] = [each for each in logs if each["event"].startswith("batches are smaller")]
    assert told["model"] == "m"


async def test_no_more_is_taken_than_twice_a_batch(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.gate.clear()
    await desk.send(*[b"cat"] * 12)
    await eventually(lambda: len(copy.held_tokens) == 8)
    assert len(copy.running_tokens) <= 4
    assert await desk.left() == 4
    workshop.gate.set()
    await said(desk, 12)


async def test_a_picture_with_a_wrong_sum_is_never_captioned(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    [task] = await desk.send(b"cat", sha256="0" * 64)
    assert await said(desk, 1) == {task: "bad_picture"}
    assert workshop.batches == []


async def test_a_message_that_is_no_task_is_taken_away_and_counted(
    desk: Desk, link: Link, copy: LiveCopy
) -> None:
    await opened(copy, link)
    await desk.link.publish(desk.names.tasks, desk.names.model_key("m"), b"noise")
    await desk.send(b"cat", model="another")
    [task] = await desk.send(b"dog")
    assert await said(desk, 1) == {task: "a dog"}
    malformed = copy._place.meters.registry.get_sample_value(
        "captionfleet_worker_malformed_messages_total"
    )
    assert malformed == 2
    assert await desk.left() == 0


async def test_a_deadly_picture_fails_alone_and_its_neighbors_get_captions(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.gate.clear()
    first, *_ = await desk.send(b"first")
    await eventually(lambda: workshop.batches)
    cat, poison, dog = await desk.send(b"cat", DEADLY, b"dog")
    await eventually(lambda: len(copy.held_tokens) == 4)
    workshop.gate.set()
    expected = {first: "a first", cat: "a cat", dog: "a dog", poison: "crashes_the_model"}
    assert await said(desk, 4) == expected
    await eventually(lambda: copy.view().consuming, what="consuming again")
    [later] = await desk.send(b"bird")
    assert (await said(desk, 5))[later] == "a bird"


async def test_a_picture_that_kills_the_engine_alone_is_tried_alone_once_more(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    [poison] = await desk.send(DEADLY)
    assert await said(desk, 1) == {poison: "crashes_the_model"}
    assert workshop.batches == [[DEADLY], [DEADLY]]


async def test_a_slow_picture_is_tried_alone_once_then_fails_with_timeout(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.gate.clear()
    [slow] = await desk.send(SLOW)
    await eventually(lambda: workshop.batches)
    [cat] = await desk.send(b"cat")
    await eventually(lambda: len(copy.held_tokens) == 2)
    workshop.gate.set()
    assert await said(desk, 2) == {slow: "timeout", cat: "a cat"}
    assert workshop.batches == [[SLOW], [SLOW], [b"cat"]]
    [result] = [each for each in desk.results if each.task == slow]
    assert "120 s" in str(result.error_message)


async def test_while_the_engine_restarts_the_copy_loads_and_takes_nothing(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.may_load.clear()
    await desk.send(DEADLY)
    await eventually(lambda: copy.state == CopyState.LOADING)
    assert not copy.view().consuming
    await desk.send(b"cat")
    await copy.open(await link.connected())
    assert await desk.left() == 1
    workshop.may_load.set()
    await said(desk, 2)


async def test_an_engine_that_dies_idle_is_started_again(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.engines[0].alive = False
    session = await link.connected()
    await copy.open(session)
    await eventually(lambda: len(workshop.engines) == 2 and copy.view().consuming)
    [cat] = await desk.send(b"cat")
    assert await said(desk, 1) == {cat: "a cat"}


async def test_work_is_handed_back_if_the_engine_cannot_come_back(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.gate.clear()
    [poison] = await desk.send(DEADLY)
    await eventually(lambda: workshop.batches)
    [cat] = await desk.send(b"cat")
    await eventually(lambda: len(copy.held_tokens) == 2)
    workshop.failures.append(LoadFailed("OutOfMemory", "no room left", True))
    workshop.gate.set()
    assert await said(desk, 2) == {poison: "suspect", cat: "returned"}
    await eventually(lambda: copy.state == CopyState.FAILED)
    view = copy.view()
    assert (view.state, view.reason, view.message) == (
        CopyState.FAILED, "OutOfMemory", "no room left",
    )  # fmt: skip
    assert view.retry_in_seconds
    assert not copy.held_tokens


async def test_an_error_of_the_worker_itself_is_told_and_loses_nothing(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    await desk.send(STRANGE)
    await eventually(lambda: copy.state == CopyState.FAILED)
    view = copy.view()
    assert (view.reason, view.message) == ("WorkerError", "RuntimeError: not even an answer")
    assert not workshop.engines[0].alive
    await eventually(desk.left, what="the task is back in its queue")


async def test_a_task_whose_consumer_died_is_sent_to_the_suspect_lane_unrun(
    desk: Desk, link: Link, session: Session, copy: LiveCopy, workshop: Workshop
) -> None:
    [task] = await desk.send(b"cat")
    await _die_holding(session, desk.names.model_queue("m"), 0)
    await opened(copy, link)
    assert await said(desk, 1) == {task: "suspect"}
    assert workshop.batches == []


async def test_suspects_run_alone_even_when_others_wait(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.gate.clear()
    await desk.send(b"first")
    await eventually(lambda: workshop.batches)
    await desk.send(b"suspect", suspect=True)
    await eventually(lambda: len(copy.held_tokens) == 2)
    await desk.send(b"a", b"b")
    await eventually(lambda: len(copy.held_tokens) == 4)
    workshop.gate.set()
    await said(desk, 4)
    assert workshop.batches == [[b"first"], [b"suspect"], [b"a", b"b"]]


async def test_a_suspect_that_was_there_at_two_deaths_is_not_run_again(
    desk: Desk, link: Link, session: Session, copy: LiveCopy, workshop: Workshop
) -> None:
    [task] = await desk.send(b"cat", suspect=True)
    for count in range(2):
        await _die_holding(session, desk.names.suspect_queue("m"), count)
    await opened(copy, link)
    assert await said(desk, 1) == {task: "crashes_the_model"}
    assert workshop.batches == []


async def _die_holding(session: Session, queue: str, count: int) -> None:
    """Take a task that was delivered `count` times before, and go without an answer."""
    taken: list[int] = []

    async def take(delivery: Delivery) -> None:
        taken.append(delivery.delivery_count)

    consumer = await session.consume(queue, take, prefetch=1)
    await eventually(lambda: taken == [count])
    await consumer.close()


async def test_a_result_for_an_api_that_is_gone_is_counted_and_its_task_acked(
    desk: Desk, link: Link, copy: LiveCopy
) -> None:
    await opened(copy, link)
    await desk.send(b"cat", reply_to="nobody")
    value = copy._place.meters.registry.get_sample_value
    await eventually(
        lambda: value("captionfleet_worker_unroutable_results_total", {"model": "m"}) == 1
    )
    await eventually(lambda: not copy.held_tokens)
    assert await desk.left() == 0


async def test_a_missing_queue_is_told_and_waited_for(
    desk: Desk, link: Link, copy: LiveCopy
) -> None:
    await opened(copy, link)
    async with desk.session.channel() as channel:
        await channel.queue_delete(desk.names.suspect_queue("m"))
    await eventually(lambda: not copy.view().consuming, what="noticing that the queue is gone")
    session = await link.connected()
    await copy.open(session)
    assert "does not exist" in str(copy.view().message)
    await desk.open()
    await copy.open(session)
    assert copy.view().consuming
    [cat] = await desk.send(b"cat")
    assert await said(desk, 1) == {cat: "a cat"}
    assert link.session is session


async def test_a_finished_caption_survives_the_loss_of_the_connection(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.gate.clear()
    [cat] = await desk.send(b"cat")
    await eventually(lambda: workshop.batches)
    before = await link.connected()
    await before.close()
    await eventually(lambda: link.session not in (None, before))
    session = await link.connected()
    workshop.gate.set()
    assert await said(desk, 1) == {cat: "a cat"}
    await copy.open(session)
    # The broker delivers the task once more: it is answered as a suspect, not run again.
    await eventually(lambda: len(desk.results) == 2)
    assert desk.results[1].outcome == Outcome.SUSPECT
    assert workshop.batches == [[b"cat"]]


async def test_deliveries_of_a_dead_connection_are_not_started(
    desk: Desk, link: Link, copy: LiveCopy, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.gate.clear()
    await desk.send(b"first")
    await eventually(lambda: workshop.batches)
    await desk.send(b"second")
    await eventually(lambda: len(copy.held_tokens) == 2)
    before = await link.connected()
    await before.close()
    workshop.gate.set()
    await eventually(lambda: not copy.held_tokens)
    assert workshop.batches == [[b"first"]]


async def test_cancelled_tasks_that_wait_are_dropped_and_the_engine_is_told_of_the_others(
    desk: Desk, link: Link, copy: LiveCopy, place: Workplace, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.gate.clear()
    await desk.send(b"first", token="runs")
    await eventually(lambda: workshop.batches)
    await desk.send(b"a", token="waits")
    [kept] = await desk.send(b"b")
    await eventually(lambda: len(copy.held_tokens) == 3)
    cancel(place, copy, "runs", "waits")
    assert workshop.engines[0].cancelled == ["runs"]
    await eventually(lambda: len(copy.held_tokens) == 2)
    workshop.gate.set()
    assert await said(desk, 1) == {kept: "a b"}
    await eventually(lambda: not copy.held_tokens)
    assert workshop.batches == [[b"first"], [b"b"]]


async def test_what_is_cancelled_while_the_engine_comes_back_is_not_tried_again(
    desk: Desk, link: Link, copy: LiveCopy, place: Workplace, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.gate.clear()
    await desk.send(b"first")
    await eventually(lambda: workshop.batches)
    [poison] = await desk.send(DEADLY)
    await desk.send(b"a", token="gone")
    [kept] = await desk.send(b"b")
    await eventually(lambda: len(copy.held_tokens) == 4)
    workshop.may_load.clear()
    workshop.gate.set()
    await eventually(lambda: len(workshop.orders) == 2)
    cancel(place, copy, "gone")
    workshop.may_load.set()
    outcomes = await said(desk, 3)
    assert (outcomes[poison], outcomes[kept]) == ("crashes_the_model", "a b")
    await eventually(lambda: not copy.held_tokens)
    assert [b"a"] not in workshop.batches and len(desk.results) == 3


async def test_a_task_that_is_tried_alone_can_be_cancelled(
    desk: Desk, link: Link, copy: LiveCopy, place: Workplace, workshop: Workshop
) -> None:
    await opened(copy, link)
    workshop.gate.clear()
    await desk.send(DEADLY, token="gone")
    await eventually(lambda: workshop.batches)
    workshop.may_load.clear()
    workshop.gate.set()
    await eventually(lambda: len(workshop.orders) == 2)
    workshop.gate.clear()
    workshop.may_load.set()
    await eventually(lambda: len(workshop.batches) == 2)
    cancel(place, copy, "gone")
    assert workshop.engines[1].cancelled == ["gone"]
    workshop.gate.set()


async def test_what_was_cancelled_before_it_came_is_not_captioned(
    desk: Desk, link: Link, copy: LiveCopy, place: Workplace, workshop: Workshop
) -> None:
    place.cancelled.add(["gone"])
    await opened(copy, link)
    await desk.send(b"a", token="gone")
    [kept] = await desk.send(b"b")
    assert await said(desk, 1) == {kept: "a b"}
    await eventually(lambda: not copy.held_tokens)
    assert workshop.batches == [[b"b"]]
