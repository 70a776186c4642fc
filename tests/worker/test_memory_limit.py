"""How much memory an engine may take, and what becomes of one that wants more."""

import re
import resource
import time
from pathlib import Path

import psutil
import pytest
from tests.conftest import eventually
from tests.worker.engines import custom_spec, engine_of, order_for, plain, shapes_spec
from tests.worker.processes import worker_process
from tests.worker.small_machines import small_machine
from tests.worker.stand_ins import Api, Operator, wanted

from captionfleet.broker.link import Link, Session
from captionfleet.broker.names import Names
from captionfleet.resources.model import Requirements
from captionfleet_worker.engine.memory_limit import Memory, allowed
from captionfleet_worker.engine_process import Shot

LARGE = """
import os
from captionfleet import CustomModel


class Large(CustomModel):
    def load(self):
        self.kept = b"x" * 300_000_000

    def infer(self, image): return str(os.getpid())
"""
HOARD = """
from pathlib import Path
from captionfleet import CustomModel


class Hoard(CustomModel):
    def load(self): pass

    def infer(self, image, prompt):
        kept = []
        while prompt and len(kept) < 20:
            kept.append(b"x" * 64_000_000)
            Path(__file__).with_name("steps").write_text(str(len(kept)))
        return "calm"
"""
CALM = """
from captionfleet import CustomModel


class Own(CustomModel):
    def load(self): pass

    def infer(self, image): return "calm"
"""
GREEDY = """
import os, signal, time
from pathlib import Path
from captionfleet import CustomModel


class Greedy(CustomModel):
    def load(self): pass

    def infer(self, image): return "fine"

    def infer_batch(self, images, prompts, options):
        with Path(__file__).with_name("sizes").open("a") as file:
            file.write(f"{len(images)} ")
        if len(images) > 2:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)  # others wait meanwhile, and make a batch
        return ["fine"] * len(images)
"""
MB, GB = 10**6, 10**9
STACK = 2**23


@pytest.mark.parametrize(
    ("stated", "free", "size", "why"),
    [
        (None, 8 * GB, 8 * GB, "what others leave of the worker's 10.0 GB"),
        (None, GB, GB, "what others leave"),
        (None, 0, 500 * MB + 2**25 + 3 * STACK, "what others leave"),
        ("1G", 8 * GB, GB + 2**31, "spec.requirements.memory and 2.1 GB beside it"),
        ("1G", 2 * GB, 2 * GB, "what others leave"),
    ],
)
def test_an_engine_may_take_what_others_leave_or_what_is_stated(
    stated: str | None, free: int, size: int, why: str
) -> None:
    """It has mapped 0.5 GB already, and as much is kept for others."""
    memory = Memory(10 * GB, free, 500 * MB, threads=1)
    limit = allowed(Requirements(memory=stated), memory, threads=4)
    assert limit.size == size and why in str(limit)


def test_an_engine_that_takes_more_than_is_stated_may_start_its_threads_all_the_same() -> None:
    limit = allowed(Requirements(memory="1G"), Memory(20 * GB, 9 * GB, 6 * GB), threads=4)
    assert limit.size == 6 * GB + 2**25 + 4 * STACK


def test_nothing_is_left_for_threads_that_have_started() -> None:
    limit = allowed(Requirements(), Memory(10 * GB, 0, GB, threads=70), threads=64)
    assert limit.size == GB + 2**25


def test_a_large_machine_keeps_no_more_than_it_needs() -> None:
    limit = allowed(Requirements(), Memory(1000 * GB, 900 * GB, 0), threads=4)
    assert limit.size == 900 * GB - 2**30


async def test_code_that_grows_bit_by_bit_ends_before_it_takes_what_others_need(
    broker_url: str, link: Link, session: Session, names: Names, operator: Operator, tmp_path: Path
) -> None:
    desks = {name: Api(link, session, names, name) for name in ("large", "hoard")}
    small = small_machine(tmp_path, 800 * MB)
    with worker_process(broker_url, names, tmp_path / "worker", environment=small) as worker:
        (worker.code / "large.py").write_text(LARGE)
        (worker.code / "hoard.py").write_text(HOARD)
        for desk in desks.values():
            await desk.open()
        await serve(operator, "hoard")  # first, while all is free
        await serve(operator, "hoard", "large")
        large, hoard = desks["large"], desks["hoard"]
        [before] = await large.send(plain())
        [failed] = await hoard.send(plain(), prompt="hoard")
        [calm] = await hoard.send(plain())
        await eventually(lambda: len(hoard.results) == 2 and large.results, seconds=60)
        [after] = await large.send(plain())
        await eventually(lambda: len(large.results) == 2)
    assert hoard.outcomes() == {failed: "out_of_memory", calm: "calm"}
    told = next(str(each.error_message) for each in hoard.results if each.task == failed)
    assert "hoard.py, line 12, in infer" in told and "what others leave" in told
    assert 1 <= int((worker.code / "steps").read_text()) * 64 <= 500
    assert large.outcomes()[before] == large.outcomes()[after]  # its engine was never replaced


async def test_a_size_of_batches_that_the_kernel_kills_is_not_offered_again(
    broker_url: str, link: Link, session: Session, names: Names, operator: Operator, tmp_path: Path
) -> None:
    desk = Api(link, session, names, "greedy")
    await desk.open()
    with worker_process(broker_url, names, tmp_path / "worker") as worker:
        (worker.code / "greedy.py").write_text(GREEDY)
        await serve(operator, "greedy", batching={"maxBatchSize": 8})
        pictures = {task: plain() for task in await desk.send(*[plain()] * 60)}
        ends = await desk.settle(pictures)
        await eventually(lambda: told_size(operator) == 2, what="the safe size in a heartbeat")
    assert all(said == {"fine"} for said in ends.values())
    sizes = [int(size) for size in (worker.code / "sizes").read_text().split()]
    assert len([size for size in sizes if size > 2]) == 1
    assert "memory allows batches of 2, not of 8" in str(operator.copy("greedy"))


async def test_pictures_that_come_after_a_pause_are_decoded_with_the_memory_of_that_moment(
    tmp_path: Path,
) -> None:
    async with engine_of(order_for(custom_spec(tmp_path, CALM), tmp_path)) as engine:
        loaded = time.monotonic()
        await eventually(lambda: time.monotonic() > loaded + 1.1, what="another look at memory")
        _, hard = resource.prlimit(engine.pid, resource.RLIMIT_DATA)
        resource.prlimit(engine.pid, resource.RLIMIT_DATA, (mapped(engine.pid) + 16 * MB, hard))
        before = engine.batch_limit
        answers = await engine.run([Shot(plain(size=(3000, 3000)), "")] * 2, {})
    assert [answer.text for answer in answers] == ["calm", "calm"]
    assert engine.batch_limit == before


def mapped(pid: int) -> int:
    [line] = re.findall(r"VmData:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(line) * 1024


async def test_a_batch_of_a_transformers_model_that_takes_too_much_is_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", small_machine(tmp_path, 1)["PYTHONPATH"])
    spec = shapes_spec(
        "shapes-blip", batching={"maxBatchSize": 256}, generation={"maxNewTokens": 4}
    )
    async with engine_of(order_for(spec, tmp_path)) as engine:
        limit, _ = psutil.Process(engine.pid).rlimit(psutil.RLIMIT_DATA)
        assert limit > 0
        answers = await engine.run([Shot(plain(), "")] * 256, {})
        assert engine.batch_limit < 256
    assert len({answer.text for answer in answers}) == 1 and answers[0].text


async def serve(operator: Operator, *models: str, **more: object) -> None:
    specs = {name: {"custom": {"entrypoint": f"{name}:{name.title()}"}, **more} for name in models}
    await eventually(lambda: operator.heartbeats, what="a heartbeat")
    await operator.assign({name: wanted(spec) for name, spec in specs.items()})
    await eventually(lambda: all(operator.serves(name) for name in models), seconds=90)


def told_size(operator: Operator) -> int | None:
    copy = operator.copy("greedy")
    return copy.max_batch_size if copy else None
