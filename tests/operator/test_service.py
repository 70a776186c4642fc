"""The operator as a process, on a real broker, with real worker processes that only talk."""

import os
import re
import signal

import psutil
import pytest
from tests.conftest import SHAPES, eventually
from tests.operator.running import RunningOperator

FAULTS = [
    "operator: before acting",
    "operator: after starting a worker",
    "operator: before writing status",
]


async def test_the_minimum_of_workers_is_started_and_models_say_why_they_wait(
    operator: RunningOperator,
) -> None:
    operator.model("a")
    operator.pool(autoscaling={"minReplicas": 2})

    operator.start()

    await eventually(lambda: operator.ear.beats.keys() == {"cpu-1", "cpu-2"})
    await eventually(lambda: operator.ear.waiting("a") == "not loaded: it loads when pictures wait")
    await eventually(lambda: (s := operator.pool_status()) and s.summary == "2/2")


async def test_a_model_is_loaded_on_demand_and_its_status_says_so(
    operator: RunningOperator,
) -> None:
    operator.model("a")
    operator.pool()
    operator.start()
    await eventually(lambda: operator.ear.waiting("a").startswith("not loaded"))

    operator.wanted = {"a": 1}

    await eventually(lambda: operator.ear.ready_on("cpu-1") == ["a"])
    await eventually(lambda: operator.ear.waiting("a") == "ready on cpu-1")
    await eventually(lambda: (s := operator.model_status("a")) and s.phase == "Ready")
    status = operator.model_status("a")
    assert status and status.queue
    assert (status.copies.summary, status.queue.pending) == ("1/1", 1)
    assert {c.type: c.status for c in status.conditions}["Ready"] == "True"


async def test_an_applied_model_is_proven_though_no_picture_waits(
    operator: RunningOperator,
) -> None:
    operator.model("a", prove="OnApply")
    operator.pool(autoscaling={"minReplicas": 0})

    operator.start()

    await eventually(lambda: operator.ear.ready_on("cpu-1") == ["a"])
    await eventually(lambda: (s := operator.model_status("a")) and s.revision.proven)
    pool = operator.pool_status()
    assert pool
    assert [each.reason for each in pool.scaling_history] == ["a is to be proven"]


async def test_a_pool_grows_with_the_work_and_shrinks_by_draining(
    operator: RunningOperator,
) -> None:
    operator.model("a")
    operator.pool(
        autoscaling={"targetBacklogSeconds": 10, "scaleDown": {"stabilizationSeconds": 1}}
    )
    operator.start()
    await eventually(lambda: "cpu-1" in operator.ear.beats)

    operator.wanted = {"a": 30}
    await eventually(lambda: operator.ear.beats.keys() == {"cpu-1", "cpu-2", "cpu-3"})
    operator.wanted = {}
    await eventually(lambda: len(operator.ear.beats) == 1)

    await eventually(lambda: (s := operator.pool_status()) and s.replicas == 1)
    status = operator.pool_status()
    assert status
    assert [(d.from_, d.to) for d in reversed(status.scaling_history)] == [
        (0, 1), (1, 3), (3, 2), (2, 1),
    ]  # fmt: skip


async def test_a_killed_operator_is_followed_by_one_that_adopts_its_workers(
    operator: RunningOperator,
) -> None:
    operator.model("a")
    operator.pool(autoscaling={"minReplicas": 2})
    operator.start()
    await eventually(lambda: operator.ear.beats.keys() == {"cpu-1", "cpu-2"})
    operator.wanted = {"a": 1}
    await eventually(lambda: operator.ear.ready_on("cpu-1") == ["a"])
    pids = operator.pids

    operator.kill()
    operator.ear.operator = None
    operator.start()

    await eventually(lambda: operator.ear.waiting("a") == "ready on cpu-1")
    assert operator.pids == pids
    assert sorted(operator.processes()) == sorted(pids.values())


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_operator_killed_anywhere_leaves_no_orphan(
    operator: RunningOperator, fault: str
) -> None:
    operator.model("a")
    operator.pool(autoscaling={"minReplicas": 2})
    marker = operator.folder / "marker"
    operator.start(CAPTIONFLEET_FAULT=f"{fault}@{marker}")
    assert operator.process
    await eventually(lambda: operator.process and operator.process.poll() is not None)
    assert marker.exists()

    operator.start()

    await eventually(lambda: operator.ear.beats.keys() == {"cpu-1", "cpu-2"})
    await eventually(lambda: operator.model_status("a"))
    assert sorted(operator.processes()) == sorted(operator.pids.values())
    assert len(operator.pids) == 2


async def test_a_worker_that_dies_is_started_again_and_the_pool_says_how_it_ended(
    operator: RunningOperator,
) -> None:
    operator.model("a")
    operator.pool()
    operator.start()
    await eventually(lambda: "cpu-1" in operator.ear.beats)
    first = operator.pids["cpu-1"]

    os.kill(first, signal.SIGKILL)

    await eventually(lambda: "worker cpu-1 was ended by SIGKILL" in operator.ear.pool())
    await eventually(lambda: operator.pids.get("cpu-1", first) != first)
    await eventually(lambda: operator.ear.beats["cpu-1"].pid != first)


async def test_a_worker_that_cannot_start_is_tried_ever_more_seldom(
    operator: RunningOperator,
) -> None:
    operator.model("a")
    operator.pool(env={"FAKE_CRASH": "1"})

    operator.start()

    await eventually(lambda: "cpu-1 ended with exit status 3" in operator.ear.pool())
    # Pauses of 1, 2, 4, 8 s: more than 2 s are left only after the third fall.
    await eventually(
        lambda: (left := re.search(r"again in (\d+) s", operator.ear.pool())) and int(left[1]) > 2,
        seconds=60,
    )


async def test_sigterm_ends_the_operator_and_leaves_its_workers(
    operator: RunningOperator,
) -> None:
    operator.pool()
    operator.start()
    await eventually(lambda: "cpu-1" in operator.ear.beats)

    assert operator.end() == 0

    assert psutil.pid_exists(operator.pids["cpu-1"])


async def test_a_cut_lifeline_ends_operator_and_workers(operator: RunningOperator) -> None:
    held, holding = os.pipe()
    operator.pool()
    operator.start(pass_fds=(held,), CAPTIONFLEET_LIFELINE_FD=str(held))
    os.close(held)
    await eventually(lambda: "cpu-1" in operator.ear.beats)

    os.close(holding)

    await eventually(lambda: operator.process and operator.process.poll() is not None)
    await eventually(lambda: not operator.processes())


async def test_a_worker_from_outside_is_used_but_never_ended(operator: RunningOperator) -> None:
    operator.model("a")
    operator.pool(autoscaling={"minReplicas": 0, "scaleToZeroAfterSeconds": 1})
    operator.start()
    operator.join_from_outside("elsewhere")
    await eventually(lambda: "elsewhere" in operator.ear.beats)

    operator.wanted = {"a": 1}

    await eventually(lambda: operator.ear.ready_on("elsewhere") == ["a"])
    operator.wanted = {}
    await eventually(lambda: (s := operator.pool_status()) and s.workers)
    status = operator.pool_status()
    assert status
    assert [(w.id, w.external) for w in status.workers] == [("elsewhere", True)]
    assert operator.strays[0].poll() is None


async def test_suspending_a_pool_ends_its_workers(operator: RunningOperator) -> None:
    operator.pool()
    operator.start()
    await eventually(lambda: "cpu-1" in operator.ear.beats)

    operator.pool(suspend=True)

    await eventually(lambda: not operator.processes())
    await eventually(lambda: operator.ear.pool() == "suspended")


async def test_a_bad_manifest_stops_nothing(operator: RunningOperator) -> None:
    operator.model("a")
    operator.pool()
    operator.start()
    await eventually(lambda: operator.ear.waiting("a"))

    operator.write("bad", "CaptionModel", {"nonsense": True})
    operator.model("b")

    await eventually(lambda: operator.ear.waiting("b"))
    assert operator.ear.waiting("bad") == ""


async def test_a_second_operator_on_the_same_data_refuses(operator: RunningOperator) -> None:
    operator.pool()
    operator.start()
    await eventually(lambda: "cpu-1" in operator.ear.beats)
    first = operator.process

    operator.start()

    assert operator.process
    assert operator.process.wait(30) == 1
    assert "another operator works on" in (operator.data / "operator.log").read_text()
    operator.process = first


HELD = """
import time
from pathlib import Path
from captionfleet import CustomModel


class Held(CustomModel):
    def load(self):
        here = Path(__file__)
        here.with_suffix(".begun").touch()
        while not here.with_name("go").exists():
            time.sleep(0.02)

    def infer(self, image):
        return "done"
"""


async def test_a_pool_loads_as_many_models_at_a_time_as_it_says(operator: RunningOperator) -> None:
    operator.real_workers = True
    code = operator.folder / "catalog" / "custom_infer"
    code.mkdir(parents=True)
    for name in "abc":
        (code / f"{name}.py").write_text(HELD)
        operator.write(name, "CaptionModel", {"custom": {"entrypoint": f"{name}:Held"}})
    operator.pool(hosting={"maxConcurrentLoads": 2})
    operator.start()
    operator.wanted = {name: 1 for name in "abc"}
    await eventually(lambda: len([*code.glob("*.begun")]) == 2, seconds=60)
    [third] = {"a", "b", "c"} - {file.stem for file in code.glob("*.begun")}
    await eventually(lambda: operator.ear.waiting(third).startswith("waiting for its turn to load"))
    assert len([*code.glob("*.begun")]) == 2

    (code / "go").touch()

    await eventually(lambda: operator.ear.waiting(third).startswith("ready"), seconds=60)


async def test_real_workers_load_a_real_model_and_outlive_the_operator(
    operator: RunningOperator,
) -> None:
    operator.real_workers = True
    weights = SHAPES / "models" / "shapes-basic"
    operator.write("shapes", "CaptionModel", {"source": {"volume": {"path": str(weights)}}})
    operator.pool()
    operator.start()
    operator.wanted = {"shapes": 1}
    await eventually(
        lambda: (s := operator.model_status("shapes")) and s.phase == "Ready", seconds=90
    )
    pids = operator.pids

    operator.kill()
    operator.ear.operator = None
    operator.start()

    await eventually(lambda: operator.ear.waiting("shapes").startswith("ready on cpu-1"))
    assert operator.pids == pids
    operator.pool(suspend=True)
    await eventually(lambda: not operator.processes(), seconds=60)
