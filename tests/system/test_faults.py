"""Nothing is lost: every named fault point, every program killed, the broker stopped, in mid-job.

Judged by conservation and by truth: one right caption for each picture, without human help.
"""

import signal
from pathlib import Path

import pytest
from tests.conftest import eventually
from tests.system.fleet import Fleet, assert_conserved, colors, running_fleet, submitted

from captionfleet.faults import FAULT_POINTS

pytestmark = pytest.mark.services


@pytest.mark.parametrize("point", FAULT_POINTS)
async def test_a_death_at_this_point_loses_nothing(
    point: str, broker_url: str, tmp_path: Path
) -> None:
    marker = tmp_path / "died"
    fault = {"CAPTIONFLEET_FAULT": f"{point}@{marker}"}
    with running_fleet(tmp_path / "fleet", broker_url=broker_url, environment=fault) as fleet:
        async with submitted(fleet, colors(24)) as submission:
            if "drain" in point:
                await submission.captioned(4)
                drain_a_worker(fleet)
            assert_conserved(submission, await submission.finished())
    assert marker.exists(), "the fault point was never reached"


def drain_a_worker(fleet: Fleet) -> None:
    fleet.programs("captionfleet_worker")[0].send_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    "program",
    ["captionfleet_worker", "captionfleet_worker.engine", "captionfleet_api",
     "captionfleet_operator"],
)  # fmt: skip
async def test_kill_9_of_a_program_in_mid_job_loses_nothing(
    program: str, broker_url: str, tmp_path: Path
) -> None:
    with running_fleet(tmp_path / "fleet", broker_url=broker_url) as fleet:
        fleet.set_seconds(0.05)
        async with submitted(fleet, colors(60)) as submission:
            await submission.captioned(8)
            victims = fleet.programs(program)
            assert victims
            for victim in victims:
                victim.kill()
            assert_conserved(submission, await submission.finished())


async def test_a_broker_stopped_in_mid_job_loses_nothing(tmp_path: Path) -> None:
    with running_fleet(tmp_path / "fleet", broker_url=None) as fleet:
        fleet.set_seconds(0.05)
        async with submitted(fleet, colors(60)) as submission:
            await submission.captioned(8)
            (broker,) = [p for p in fleet.descendants() if p.name() == "beam.smp"]
            broker.send_signal(signal.SIGTERM)
            await eventually(lambda: not broker.is_running(), seconds=60)
            assert_conserved(submission, await submission.finished(seconds=120))
