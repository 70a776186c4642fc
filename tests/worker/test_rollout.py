"""A changed spec reaches a worker that captions: no failed task, no gap, and a way back."""

import asyncio

from tests.conftest import eventually
from tests.worker.stand_ins import Api, Operator, Workshop, wanted

from captionfleet.messages import Change, CopyState, ModelAssignment, Outcome, ResultMessage
from captionfleet_worker.agent import Agent
from captionfleet_worker.engine_process import LoadFailed


def beside(fingerprint: str) -> ModelAssignment:
    return wanted(fingerprint=fingerprint).model_copy(update={"change": Change.BESIDE})


async def test_the_old_copy_captions_while_the_new_one_loads_and_both_answer(
    agent: Agent, operator: Operator, api: Api, workshop: Workshop
) -> None:
    await operator.assign({"m": beside("old")})
    await eventually(lambda: operator.serves("m"))
    workshop.may_load.clear()
    await operator.assign({"m": beside("new")})
    await eventually(lambda: (c := operator.copy("m")) and c.beside)
    pictures = await stream(api, "during")
    await eventually(lambda: len(api.ends()) == len(pictures), what="captions while it loads")
    workshop.may_load.set()
    pictures |= await stream(api, "meanwhile")  # by whichever is first
    await eventually(lambda: (c := operator.copy("m")) and not c.beside)
    pictures |= await stream(api, "after")
    ends = await api.settle(pictures)
    assert ends == {task: {f"a {each.decode()}"} for task, each in pictures.items()}
    assert {each.fingerprint for each in captioned(api)} == {"old", "new"}
    assert [engine.alive for engine in workshop.engines] == [False, True]


async def test_there_is_a_consumer_at_every_moment_of_a_switch(
    agent: Agent, operator: Operator, api: Api, workshop: Workshop
) -> None:
    await operator.assign({"m": beside("old")})
    await eventually(lambda: operator.serves("m"))
    operator.heartbeats.clear()
    await operator.assign({"m": beside("new")})
    await eventually(
        lambda: operator.heartbeats and (c := operator.copy("m")) and c.fingerprint == "new"
    )
    told = [copy for beat in operator.heartbeats for copy in beat.copies]
    assert all(any(each.consuming for each in copy.both) for copy in told)


async def test_a_new_spec_that_cannot_be_loaded_leaves_the_old_one_captioning(
    agent: Agent, operator: Operator, api: Api, workshop: Workshop
) -> None:
    await operator.assign({"m": beside("old")})
    await eventually(lambda: operator.serves("m"))
    workshop.failures.append(LoadFailed("LoadFailed", "no such layer", retriable=True))
    await operator.assign({"m": beside("new")})
    await eventually(
        lambda: (c := operator.copy("m")) and c.beside and c.beside.state == CopyState.FAILED
    )
    copy = operator.copy("m")
    assert copy and copy.beside
    assert (copy.state, copy.fingerprint) == (CopyState.READY, "old")
    assert (copy.beside.reason, copy.beside.message) == ("LoadFailed", "no such layer")
    pictures = await stream(api, "still")
    assert set(await api.settle(pictures)) == set(pictures)
    await operator.assign({"m": beside("old")})
    await eventually(lambda: (c := operator.copy("m")) and not c.beside)
    assert workshop.engines[0].alive


async def test_work_of_the_old_copy_is_finished_by_it_after_the_switch(
    agent: Agent, operator: Operator, api: Api, workshop: Workshop
) -> None:
    await operator.assign({"m": beside("old")})
    await eventually(lambda: operator.serves("m"))
    workshop.gate.clear()
    pictures = await stream(api, "slow", count=1)
    await eventually(lambda: operator.last.running)
    await operator.assign({"m": beside("new")})
    await eventually(lambda: (c := operator.copy("m")) and c.fingerprint == "new" and c.beside)
    workshop.gate.set()
    await api.settle(pictures)
    assert {each.fingerprint for each in captioned(api)} == {"old"}
    assert all(each.outcome == Outcome.CAPTIONED for each in api.results)


async def stream(api: Api, name: str, count: int = 20) -> dict[str, bytes]:
    """Tasks one after the other. Returns id -> picture."""
    pictures = {}
    for number in range(count):
        picture = f"{name}-{number}".encode()
        [task] = await api.send(picture)
        pictures[task] = picture
        await asyncio.sleep(0)
    return pictures


def captioned(api: Api) -> list[ResultMessage]:
    return [each for each in api.results if each.outcome == Outcome.CAPTIONED]


def coded(fingerprint: str, code: str | None) -> ModelAssignment:
    """With its code, or as the operator says it where the code was heard."""
    files = [{"path": "mine.py", "content": code}] if code else []
    spec = {"custom": {"entrypoint": "mine:Mine", "files": files}}
    return beside(fingerprint).model_copy(update={"spec": spec, "code_left_out": code is None})


async def test_going_back_to_uploaded_code_that_still_serves_leaves_no_gap(
    agent: Agent, operator: Operator, api: Api, workshop: Workshop
) -> None:
    await operator.assign({"m": coded("old", "class Old: ...")})
    await eventually(lambda: operator.serves("m"))
    workshop.may_load.clear()
    await operator.assign({"m": coded("new", "class New: ...")})
    await eventually(lambda: (c := operator.copy("m")) and c.beside)
    operator.heartbeats.clear()
    back = await operator.assign({"m": coded("old", None)})
    await eventually(
        lambda: (
            operator.heartbeats
            and operator.last.assignment == back
            and (c := operator.copy("m"))
            and not c.beside
        )
    )
    assert all(beat.copies[0].fingerprint == "old" for beat in operator.heartbeats)
    assert operator.serves("m") and [engine.alive for engine in workshop.engines] == [True]
