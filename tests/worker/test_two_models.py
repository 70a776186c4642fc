"""One worker with two models of people's own code: one misbehaves, the other captions on."""

from pathlib import Path
from typing import Any

import pytest
from tests.conftest import eventually
from tests.worker.engines import plain
from tests.worker.processes import WorkerProcess, worker_process
from tests.worker.stand_ins import Api, Operator, wanted

from captionfleet.broker.link import Link, Session
from captionfleet.broker.names import Names

pytestmark = pytest.mark.services

GOOD = """
import os
from captionfleet import CustomModel


class Good(CustomModel):
    def load(self): pass

    def infer(self, image): return str(os.getpid())
"""
BAD = """
import os, sys, time
from captionfleet import CustomModel


class Bad(CustomModel):
    def load(self): pass

    def infer(self, image, prompt):
        print("flood" * 100)
        if prompt == "loop":
            while True: pass
        if prompt == "crash":
            os.abort()
        if prompt == "exit":
            sys.exit(1)
        if prompt == "hoard":
            bytearray(2 ** 42)
        return "calm"
"""
ENDS = {
    "loop": ("timeout", "bad.py, line 12, in infer"),
    "crash": ("crashes_the_model", "SIGABRT, in bad.py, line 14, in infer"),
    "exit": ("model_error", "bad.py, line 16, in infer"),
    "hoard": ("out_of_memory", "bad.py, line 18, in infer"),
}


def spec(name: str) -> dict[str, Any]:
    return {
        "custom": {"entrypoint": f"{name}:{name.title()}"},
        "inference": {"timeoutSeconds": 2},
    }


@pytest.fixture
async def desks(link: Link, session: Session, names: Names) -> dict[str, Api]:
    desks = {name: Api(link, session, names, name) for name in ("good", "bad")}
    for desk in desks.values():
        await desk.open()
    return desks


async def test_one_that_misbehaves_in_every_way_costs_the_other_nothing(
    broker_url: str, names: Names, tmp_path: Path, operator: Operator, desks: dict[str, Api]
) -> None:
    with worker_process(broker_url, names, tmp_path / "worker") as worker:
        (worker.code / "good.py").write_text(GOOD)
        (worker.code / "bad.py").write_text(BAD)
        await both_serve(operator)
        good, bad = desks["good"], desks["bad"]
        asked = {prompt: (await bad.send(plain(), prompt=prompt))[0] for prompt in ENDS}
        while len(bad.results) < len(ENDS):
            seen = len(good.results)
            await good.send(*[plain() for _ in range(4)])
            await eventually(lambda seen=seen: len(good.results) == seen + 4, seconds=5)  # type: ignore[misc]
        assert len({result.text for result in good.results}) == 1  # its engine was never replaced
        found = {result.task: result for result in bad.results}
        for prompt, (code, place) in ENDS.items():
            result = found[asked[prompt]]
            assert result.error_code == code and place in str(result.error_message), result
        [calm] = await bad.send(plain(), prompt="")
        await eventually(lambda: bad.outcomes().get(calm) == "calm", seconds=60)


async def both_serve(operator: Operator) -> None:
    await eventually(lambda: operator.heartbeats, what="a heartbeat")
    await operator.assign({name: wanted(spec(name)) for name in ("good", "bad")})
    await eventually(
        lambda: operator.serves("good") and operator.serves("bad"), seconds=90, what="both serve"
    )


async def test_a_saved_helper_replaces_the_engine_that_uses_it_alone(
    broker_url: str, names: Names, tmp_path: Path, operator: Operator, desks: dict[str, Api]
) -> None:
    with worker_process(broker_url, names, tmp_path / "worker") as worker:
        (worker.code / "good.py").write_text(GOOD)
        bad = GOOD.replace("Good", "Bad").replace("import os\n", "import os\nimport words\n")
        (worker.code / "bad.py").write_text(bad.replace("str(os", "words.said + str(os"))
        (worker.code / "words.py").write_text("said = 'first '\n")
        await both_serve(operator)
        before = {name: await said_by(desk) for name, desk in desks.items()}
        (worker.code / "words.py").write_text("said = 'second '\n")
        await eventually(lambda: reloaded(worker, before["bad"]), seconds=60, what="another engine")
        await both_serve_again(operator)
        after = {name: await said_by(desk) for name, desk in desks.items()}
    assert before["bad"].startswith("first ") and after["bad"].startswith("second ")
    assert before["good"] == after["good"]


async def said_by(desk: Api) -> str:
    [task] = await desk.send(plain())
    return str(await eventually(lambda: desk.outcomes().get(task), seconds=60))


def reloaded(worker: WorkerProcess, before: str) -> bool:
    pid = int(before.split()[-1])
    return pid not in {engine.pid for engine in worker.engines}


async def both_serve_again(operator: Operator) -> None:
    heard = len(operator.heartbeats)
    await eventually(lambda: len(operator.heartbeats) > heard)
    await eventually(
        lambda: operator.serves("good") and operator.serves("bad"), seconds=90, what="both serve"
    )
