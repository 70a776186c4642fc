"""The agent on a real broker, with stand-in engines: it becomes what it is told to be."""

import stat
from pathlib import Path

import pytest
from tests.conftest import eventually
from tests.worker.agents import working
from tests.worker.stand_ins import SPEC, Api, Desk, Operator, Workshop, wanted

from captionfleet.broker.link import Session
from captionfleet.messages import Cancellation, CopyState, ModelAssignment, Outcome, Wanted
from captionfleet_worker import watchdog
from captionfleet_worker.agent import Agent
from captionfleet_worker.batch_size import Known
from captionfleet_worker.device import processor
from captionfleet_worker.draining import drain_budget
from captionfleet_worker.engine_process import LoadFailed
from captionfleet_worker.learning import KeptSizes, about
from captionfleet_worker.settings import WorkerSettings


async def test_a_fresh_worker_says_who_it_is_and_holds_nothing(
    agent: Agent, operator: Operator
) -> None:
    heartbeat = operator.last
    assert (heartbeat.worker, heartbeat.pool, heartbeat.device) == ("w1", "p", "CPU")
    assert heartbeat.memory_total > heartbeat.memory_used > 0
    assert heartbeat.copies == []
    assert heartbeat.assignment is None


async def test_an_assigned_model_is_loaded_and_its_tasks_answered(
    agent: Agent, operator: Operator, desk: Desk
) -> None:
    generation = await operator.assign({"m": wanted()})
    await eventually(lambda: operator.serves("m"))
    [cat] = await desk.send(b"cat")
    await eventually(lambda: desk.outcomes() == {cat: "a cat"})
    assert operator.last.assignment == generation
    await eventually(lambda: (c := operator.copy("m")) and c.rates)
    copy = operator.copy("m")
    assert copy
    assert copy.revision == "revision-1"
    assert copy.median_seconds is not None
    assert copy.max_batch_size == 4


async def test_what_is_not_named_any_more_is_unloaded(
    agent: Agent, operator: Operator, desk: Desk, workshop: Workshop
) -> None:
    await operator.assign({"m": wanted()})
    await eventually(lambda: operator.serves("m"))
    await operator.assign({"m": ModelAssignment(state=Wanted.CACHED, fingerprint="f1", spec=SPEC)})
    await eventually(lambda: operator.copy("m") is None)
    assert not workshop.engines[0].alive


async def test_another_fingerprint_replaces_the_copy(
    agent: Agent, operator: Operator, desk: Desk, workshop: Workshop
) -> None:
    await operator.assign({"m": wanted()})
    await eventually(lambda: operator.serves("m"))
    await operator.assign({"m": wanted(fingerprint="f2")})
    await eventually(lambda: (c := operator.copy("m")) and c.fingerprint == "f2" and c.consuming)
    assert [engine.alive for engine in workshop.engines] == [False, True]


async def test_new_specs_under_load_fail_and_lose_no_task(
    agent: Agent, operator: Operator, api: Api, workshop: Workshop
) -> None:
    pictures: dict[str, bytes] = {}
    await operator.assign({"m": wanted(fingerprint="f0")})
    for number in range(1, 4):
        await eventually(lambda: operator.serves("m"))
        workshop.gate.clear()
        fresh = [f"{number}-{each}".encode() for each in range(10)]
        pictures |= dict(zip(await api.send(*fresh), fresh, strict=True))
        await eventually(lambda: operator.last.running and len(operator.last.held) > 4)
        operator.heartbeats.clear()
        await operator.assign({"m": wanted(fingerprint=f"f{number}")})
        await eventually(lambda: operator.state("m") == CopyState.UNLOADING)
        workshop.gate.set()
    ends = await api.settle(pictures)
    assert ends == {task: {f"a {picture.decode()}"} for task, picture in pictures.items()}
    await eventually(lambda: (c := operator.copy("m")) and c.fingerprint == "f3")
    fingerprints = {each.fingerprint for each in api.results if each.outcome == Outcome.CAPTIONED}
    assert len(fingerprints) > 1, "what ran was finished by the copy that ran it"
    assert len(workshop.engines) == 4


async def test_work_in_hand_goes_back_when_its_model_is_unloaded(
    agent: Agent, operator: Operator, desk: Desk, workshop: Workshop
) -> None:
    await operator.assign({"m": wanted()})
    await eventually(lambda: operator.serves("m"))
    workshop.gate.clear()
    [first] = await desk.send(b"first")
    await eventually(lambda: workshop.batches)
    [second] = await desk.send(b"second")
    await eventually(lambda: len(operator.last.held) == 2 and len(operator.last.running) == 1)
    await operator.assign({})
    await eventually(lambda: desk.outcomes() == {second: "returned"})
    workshop.gate.set()
    await eventually(lambda: desk.outcomes() == {second: "returned", first: "a first"})
    await eventually(lambda: operator.copy("m") is None)


async def test_models_load_one_after_the_other(
    agent: Agent, operator: Operator, workshop: Workshop
) -> None:
    workshop.may_load.clear()
    await operator.assign({"a": wanted(), "b": wanted()})
    await eventually(lambda: operator.state("b") == CopyState.LOADING)
    assert [order.model for order in workshop.orders] == ["a"]
    workshop.may_load.set()
    await eventually(lambda: operator.state("b") == CopyState.READY)
    assert [order.model for order in workshop.orders] == ["a", "b"]


async def test_what_is_known_of_batches_lies_beside_the_models_in_a_cache_of_the_workers(
    settings: WorkerSettings, workshop: Workshop, operator: Operator, tmp_path: Path
) -> None:
    known = Known(rates={1: 3, 2: 9, 4: 2}, batches={1: 2, 2: 2, 4: 2}, chosen=2)
    kept = KeptSizes(tmp_path / "cache" / ".captionfleet" / "batch-sizes")
    kept.write(about("revision-1", processor(), 1), known)
    owned = settings.model_copy(update={"cache": tmp_path / "cache"})
    async with working(owned, workshop):
        await eventually(lambda: operator.heartbeats)
        await operator.assign({"m": wanted()})
        await eventually(lambda: (c := operator.copy("m")) and c.batch_size == 2)


async def test_a_failed_load_says_why_and_when_it_is_tried_again(
    agent: Agent, operator: Operator, workshop: Workshop
) -> None:
    workshop.failures.append(LoadFailed("MissingWeights", "there are no weights", False))
    await operator.assign({"m": wanted()})
    await eventually(lambda: operator.state("m") == CopyState.FAILED)
    copy = operator.copy("m")
    assert copy
    assert (copy.reason, copy.message) == ("MissingWeights", "there are no weights")
    assert 0 < (copy.retry_in_seconds or 0) <= 60


async def test_a_spec_of_another_version_fails_in_words(agent: Agent, operator: Operator) -> None:
    await operator.assign({"m": wanted({"hologram": {}})})
    await eventually(lambda: operator.state("m") == CopyState.FAILED)
    copy = operator.copy("m")
    assert copy
    assert copy.reason == "InvalidSpec"
    assert "same version" in str(copy.message)


async def test_an_older_assignment_and_an_older_operator_are_not_obeyed(
    agent: Agent, operator: Operator
) -> None:
    await operator.assign({"a": wanted()})
    old = operator.incarnation
    operator.incarnation, operator.counter = "another", 0
    newest = await operator.assign({"b": wanted()})
    await eventually(lambda: operator.state("b") == CopyState.READY)
    operator.incarnation, operator.counter = old, 100
    await operator.assign({"c": wanted()})
    operator.incarnation, operator.counter = "another", -1
    await operator.assign({"c": wanted()})
    operator.counter = newest.counter
    last = await operator.assign({"b": wanted(), "d": wanted()})
    await eventually(lambda: operator.last.assignment == last)
    assert [copy.model for copy in operator.last.copies if copy.model in "ac"] == []


async def test_a_cancelled_task_ends_in_the_engine_and_is_not_answered(
    agent: Agent, operator: Operator, desk: Desk, workshop: Workshop
) -> None:
    await operator.assign({"m": wanted()})
    await eventually(lambda: operator.serves("m"))
    workshop.gate.clear()
    await desk.send(b"cat", token="gone")
    await eventually(lambda: workshop.batches)
    told = Cancellation(tokens=frozenset(["gone", "of another worker"]))
    await operator.link.publish(operator.names.cancellations, "", told.encode())
    await eventually(lambda: workshop.engines[0].cancelled == ["gone"])
    workshop.gate.set()
    await eventually(lambda: not operator.last.held)
    assert desk.results == []


async def test_a_worker_whose_operator_is_older_captions_and_hears_of_no_cancellation(
    settings: WorkerSettings, workshop: Workshop, operator: Operator, desk: Desk, session: Session
) -> None:
    async with session.channel() as channel:
        await channel.exchange_delete(operator.names.cancellations)
    async with working(settings, workshop):
        await eventually(lambda: operator.heartbeats)
        await operator.assign({"m": wanted()})
        await eventually(lambda: operator.serves("m"))
        [cat] = await desk.send(b"cat")
        await eventually(lambda: desk.outcomes() == {cat: "a cat"})


async def test_noise_instead_of_an_order_changes_nothing(agent: Agent, operator: Operator) -> None:
    key = operator.names.worker_key("p", "w1")
    await operator.link.publish(operator.names.assignments, key, b"noise")
    await operator.link.publish(operator.names.cancellations, "", b"noise")
    await operator.assign({"a": wanted()})
    await eventually(lambda: operator.state("a") == CopyState.READY)
    value = agent._meters.registry.get_sample_value
    assert value("captionfleet_worker_malformed_messages_total") == 2


async def test_the_last_assignment_is_kept_for_its_owner_alone_and_resumed_unheard(
    settings: WorkerSettings, operator: Operator, workshop: Workshop
) -> None:
    async with working(settings, workshop):
        await eventually(lambda: operator.heartbeats)
        await operator.assign({"m": wanted()})
        await eventually(lambda: operator.state("m") == CopyState.READY)
    assert stat.S_IMODE(settings.kept_assignment.stat().st_mode) == 0o600
    operator.heartbeats.clear()
    quick = settings.model_copy(update={"resume_seconds": 0.1})
    async with working(quick, workshop):
        await eventually(lambda: operator.state("m") == CopyState.READY)


async def test_saving_a_file_of_custom_code_reloads_its_engine_alone(
    agent: Agent, operator: Operator, settings: WorkerSettings, workshop: Workshop
) -> None:
    folder = settings.custom_infer
    assert folder
    one, two = folder / "one.py", folder / "two.py"
    for file in (one, two):
        file.write_text("class Mine(CustomModel):\n    pass\n")
    models = {name: wanted({"custom": {"entrypoint": f"{name}:Mine"}}) for name in ("one", "two")}
    await eventually(lambda: len(operator.last.custom) == 2)
    await operator.assign(models)
    await eventually(lambda: operator.state("two") == operator.state("one") == CopyState.READY)
    assert sorted(operator.last.cached) == ["one", "two"]
    before = len(workshop.orders)
    one.write_text("class Mine(CustomModel):\n    version = 2\n")
    await eventually(lambda: len(workshop.orders) > before)
    await eventually(lambda: operator.state("one") == CopyState.READY)
    assert [order.model for order in workshop.orders[before:]] == ["one"]


async def test_a_lost_connection_is_built_anew_with_all_consumers(
    agent: Agent, operator: Operator, desk: Desk
) -> None:
    await operator.assign({"m": wanted()})
    await eventually(lambda: operator.serves("m"))
    before = agent._link.session
    assert before
    await before.close()
    await eventually(lambda: agent._link.session not in (None, before))
    await eventually(lambda: operator.serves("m"))
    [cat] = await desk.send(b"cat")
    await eventually(lambda: desk.outcomes() == {cat: "a cat"})
    generation = await operator.assign({})
    await eventually(lambda: operator.last.assignment == generation)


async def test_a_consumer_that_gets_nothing_of_what_waits_is_built_anew(
    agent: Agent, operator: Operator, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "MISTRUST_SECONDS", 0.3)
    await operator.assign({"m": wanted()})
    await eventually(lambda: operator.serves("m"))
    consumer = next(iter(agent._copies._copies.values()))._consumer
    assert consumer
    for each in consumer.lanes._consumers:
        await each.cancel()  # behind its back
    [cat] = await desk.send(b"cat")
    await eventually(desk.left)
    assert operator.serves("m"), "it believes that it consumes"
    await eventually(lambda: consumer.quiet_seconds() > 0.3)
    await agent._check_consumers()
    await eventually(lambda: desk.outcomes() == {cat: "a cat"})


async def test_a_worker_that_came_before_its_operator_waits_for_it(
    settings: WorkerSettings, workshop: Workshop, session: Session, operator: Operator
) -> None:
    elsewhere = settings.model_copy(update={"fleet": f"{settings.fleet}-later"})
    async with working(elsewhere, workshop) as agent:
        await eventually(lambda: "does not exist" in agent._link.trouble)
        assert agent._link.session is None


async def test_draining_hands_back_what_has_not_started_and_says_goodbye(
    settings: WorkerSettings, operator: Operator, desk: Desk, workshop: Workshop
) -> None:
    async with working(settings, workshop) as agent:
        await eventually(lambda: operator.heartbeats)
        await operator.assign({"m": wanted()})
        await eventually(lambda: operator.serves("m"))
        workshop.gate.clear()
        [first] = await desk.send(b"first")
        await eventually(lambda: workshop.batches)
        [second] = await desk.send(b"second")
        await eventually(lambda: len(operator.last.held) == 2)
        agent.stop()
        await eventually(lambda: desk.outcomes() == {second: "returned"})
        await eventually(lambda: operator.last.draining)
        [late] = await desk.send(b"late")
        workshop.gate.set()
    await eventually(lambda: operator.last.gone)
    assert desk.outcomes() == {second: "returned", first: "a first"}
    assert await desk.left() == 1, f"{late} is for others"
    assert operator.last.held == []
    assert not workshop.engines[0].alive


async def test_a_drain_that_takes_too_long_is_cut_short(
    settings: WorkerSettings, operator: Operator, desk: Desk, workshop: Workshop
) -> None:
    brief = settings.model_copy(update={"drain_seconds": 0.5})
    async with working(brief, workshop):
        await eventually(lambda: operator.heartbeats)
        await operator.assign({"m": wanted()})
        await eventually(lambda: operator.serves("m"))
        workshop.gate.clear()
        await desk.send(b"cat")
        await eventually(lambda: workshop.batches)
    await eventually(lambda: operator.last.gone)
    await eventually(desk.left, what="the task is back in its queue")
    assert desk.results == []


def test_a_drain_leaves_time_for_engines_to_end() -> None:
    assert drain_budget(300) == 292
    assert drain_budget(4) == 2
