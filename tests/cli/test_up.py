"""`captionfleet up`: starts everything, keeps it running, and leaves nothing behind."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cli.installation import (
    Up,
    complete,
    copy_of_shapes,
    nothing_left,
    run_command,
    started,
)
from tests.conftest import SHAPES, eventually

from captionfleet.client import Client

pytestmark = [pytest.mark.services, pytest.mark.timeout(360)]


@pytest.fixture(scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    """One with a private RabbitMQ and the shapes, for all tests that leave it running."""
    home = tmp_path_factory.mktemp("up")
    async with started(copy_of_shapes(home / "shapes"), home) as running:
        yield running


async def submit_one(client: Client, number: int) -> str:
    """Send one of the example's pictures to one model; the job's id."""
    picture = SHAPES / "pictures" / f"shapes-{number:02d}.png"
    image = await client.upload(picture)
    return (await client.create_job([(image.id, picture.name)], ["shapes-basic"])).id


async def test_kill_9_of_up_leaves_no_process_and_loses_no_job(tmp_path: Path) -> None:
    folder = copy_of_shapes(tmp_path / "shapes")
    async with started(folder, tmp_path) as up, Client(up.url) as client:
        assert len(up.processes()) >= 6  # up, guard, broker, name server, api, operator
        job = await submit_one(client, 1)
        await up.end(signal.SIGKILL)
        await nothing_left(up)
    async with started(folder, tmp_path) as again, Client(again.url) as client:
        await complete(client, job)


@pytest.mark.parametrize(
    ("number", "program"),
    [(1, "captionfleet_api"), (2, "captionfleet_operator"), (4, "beam.smp")],
)
async def test_a_killed_program_is_started_again_where_it_was(
    up: Up, number: int, program: str
) -> None:
    up.progress.clear()
    (await up.program(program)).send_signal(signal.SIGKILL)
    await eventually(lambda: any("starting it again in" in line for line in up.progress))
    async with Client(up.url) as client:
        job = await submit_one(client, number)  # a picture that no cache knows
        await complete(client, job)
        assert [task.state async for task in client.tasks(job)] == ["captioned"]


async def test_a_broker_whose_guard_was_killed_is_replaced_not_doubled(up: Up) -> None:
    orphan = await up.program("beam.smp")
    (await up.program("up.guard")).send_signal(signal.SIGKILL)
    await eventually(lambda: not orphan.is_running(), what="the orphan ends")
    await up.program("beam.smp")
    async with Client(up.url) as client:
        await complete(client, await submit_one(client, 5))


@pytest.fixture
async def asleep(tmp_path: Path) -> AsyncIterator[tuple[Up, str]]:
    """An installation whose only model sleeps over a picture until `wake` is there; and the job."""
    folder = tmp_path / "slow"
    (folder / "custom_infer").mkdir(parents=True)
    (folder / "custom_infer" / "sleeper.py").write_text(SLEEPER)
    (folder / "fleet.yaml").write_text(POOL)
    async with started(folder, tmp_path) as up, Client(up.url) as client:
        image = await client.upload(SHAPES / "pictures" / "shapes-01.png")
        job = await client.create_job([image.id], ["sleeper"])
        await eventually(lambda: (folder / "asleep").exists(), seconds=60)
        yield up, job.id


async def test_a_second_signal_ends_a_drain_that_takes_too_long(asleep: tuple[Up, str]) -> None:
    up, _ = asleep
    up.send(signal.SIGINT)
    await eventually(lambda: any("workers finish" in line for line in up.progress))
    assert await up.end(signal.SIGINT) == 0
    await nothing_left(up)


async def test_ctrl_c_lets_the_running_picture_be_finished(asleep: tuple[Up, str]) -> None:
    up, job = asleep
    up.send(signal.SIGINT)
    await eventually(lambda: any("workers finish" in line for line in up.progress))
    (up.folder / "wake").touch()
    assert await asyncio.wait_for(up.process.wait(), 60) == 0
    async with started(up.folder, up.home) as again, Client(again.url) as client:
        [task] = [task async for task in client.tasks(job)]
        assert (task.state, task.attempts) == ("captioned", 1)


async def test_a_second_up_on_the_same_data_is_refused(up: Up) -> None:
    second = await run_command("up", str(up.folder), "--port", "0", home=up.home)
    assert second.code == 2
    assert up.url.rstrip("/") in second.err and "--data DIR" in second.err


async def test_a_busy_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = str(busy.getsockname()[1])
        ran = await run_command("up", str(tmp_path), "--port", port, home=tmp_path)
    assert ran.code == 2
    assert f"port {port}" in ran.err and "--port" in ran.err


async def test_beyond_loopback_on_a_broker_of_ones_own(tmp_path: Path, broker_url: str) -> None:
    folder = copy_of_shapes(tmp_path / "shapes")
    flags = ("--host", "0.0.0.0")
    async with started(folder, tmp_path, *flags, RABBITMQ_URL=broker_url) as up:
        address, _, token = up.url.partition("/?token=")
        assert address.startswith("http://127.0.0.1:") and token not in "".join(up.progress)
        await token_is_asked_for(up, address)
        # A worker's is made from this one, and nobody but root may look into it.
        assert token not in str((await up.program("captionfleet_operator")).environ())
        async with Client(address, token) as client:
            await complete(client, await submit_one(client, 1))
            fleet = (await client.fleet()).fleet
        assert fleet.startswith("captionfleet-") and not (up.data / "broker").exists()
        assert any(f"CAPTIONFLEET_FLEET={fleet}" in line for line in up.progress)


async def token_is_asked_for(up: Up, address: str) -> None:
    let_in = await up.run("get", "models", "-o", "name")
    assert let_in.code == 0 and "captionmodel/shapes-basic" in let_in.out
    refused = await run_command("get", "models", "--server", address, home=up.home)
    assert refused.code == 1 and "CAPTIONFLEET_TOKEN" in refused.err


SLEEPER = """
import time
from pathlib import Path
from captionfleet import CustomModel

HERE = Path(__file__).parent.parent


class Sleeper(CustomModel):
    def load(self):
        pass

    def infer(self, image):
        if image.size != (256, 256):
            return "a smoke test"
        (HERE / "asleep").touch()
        while not (HERE / "wake").exists():
            time.sleep(0.02)
        return "awake"
"""
POOL = """
apiVersion: captionfleet.io/v1alpha1
kind: CaptionWorkerPool
metadata: {name: cpu}
spec: {device: {type: CPU}, autoscaling: {minReplicas: 1, maxReplicas: 1}}
"""
