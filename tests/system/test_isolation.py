"""One bad picture, one leaving worker, two neighbors: nobody else notices."""

import signal
from pathlib import Path

import pytest
from tests.conftest import eventually
from tests.system.fleet import (
    HANGING,
    POISON,
    assert_conserved,
    colors,
    hexadecimal,
    running_fleet,
    submitted,
)

pytestmark = pytest.mark.services


async def test_a_picture_that_crashes_the_model_fails_alone(
    broker_url: str, tmp_path: Path
) -> None:
    with running_fleet(tmp_path / "fleet", broker_url=broker_url) as fleet:
        (fleet.orders / "poison").touch()
        good = colors(64)
        async with submitted(fleet, [*good[:30], POISON, *good[30:]]) as submission:
            tasks = await submission.finished()
        (bad,) = [t for t in tasks if t["image"]["filename"] == hexadecimal(POISON) + ".png"]
        assert bad["state"] == "failed"
        assert bad["error"]["code"] == "crashes_the_model"
        submission.pictures.remove(POISON)
        tasks.remove(bad)
        assert_conserved(submission, tasks)
        assert fleet.programs("captionfleet_worker")


async def test_a_picture_that_hangs_the_model_times_out_alone(
    broker_url: str, tmp_path: Path
) -> None:
    with running_fleet(tmp_path / "fleet", broker_url=broker_url, timeout=2) as fleet:
        (fleet.orders / "hang").touch()
        async with submitted(fleet, [*colors(8), HANGING]) as submission:
            tasks = await submission.finished()
        (bad,) = [t for t in tasks if t["state"] == "failed"]
        assert bad["error"]["code"] == "timeout"
        assert bad["image"]["filename"] == hexadecimal(HANGING) + ".png"
        assert sum(t["state"] == "captioned" for t in tasks) == 8


async def test_a_worker_told_to_leave_in_mid_batch_hands_back_only_what_it_did_not_start(
    broker_url: str, tmp_path: Path
) -> None:
    with running_fleet(tmp_path / "fleet", broker_url=broker_url, workers=2) as fleet:
        fleet.set_seconds(0.1)
        async with submitted(fleet, colors(80)) as submission:
            await submission.captioned(8)
            leaving = fleet.programs("captionfleet_worker")[0]
            leaving.send_signal(signal.SIGTERM)
            await eventually(lambda: not leaving.is_running(), seconds=30)
            tasks = await submission.finished()
        assert_conserved(submission, tasks)
        # What ran twice would have been handed back although it was started: 8 per batch at most.
        assert max(task["attempts"] for task in tasks) <= 2


async def test_two_fleets_on_one_broker_have_no_contact(broker_url: str, tmp_path: Path) -> None:
    with (
        running_fleet(tmp_path / "a", broker_url=broker_url) as one,
        running_fleet(tmp_path / "b", broker_url=broker_url) as other,
    ):
        async with submitted(one, colors(16)) as first, submitted(other, colors(16)) as second:
            assert_conserved(first, await first.finished())
            assert_conserved(second, await second.finished())
        for fleet in (one, other):
            async with fleet.client() as client:
                assert len((await client.get("/workers")).json()["items"]) == 1
