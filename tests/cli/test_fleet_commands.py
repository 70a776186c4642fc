"""The commands against a real fleet: pictures in, right captions out, only what is missing sent."""

import json
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.installation import Up, copy_of_shapes, run_command, started
from tests.conftest import SHAPES, eventually

from captionfleet.client import ApiProblem, Client

pytestmark = [pytest.mark.services, pytest.mark.timeout(360)]

TRUTH: dict[str, dict[str, Any]] = json.loads((SHAPES / "pictures" / "truth.json").read_text())


@pytest.fixture(scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    """One installation with the shapes for all tests of this file."""
    home = tmp_path_factory.mktemp("commands")
    async with started(copy_of_shapes(home / "shapes"), home) as running:
        yield running


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures of a person, one in a folder of its own."""
    folder = tmp_path / "holiday"
    (folder / "beach").mkdir(parents=True)
    for number, name in ((1, "one.png"), (2, "two.png"), (5, "beach/three.png")):
        shutil.copy(SHAPES / "pictures" / f"shapes-{number:02d}.png", folder / name)
    return folder


def right(caption: str, truth: dict[str, Any]) -> bool:
    """It names every shape with its color."""
    return all(f"{s['color']} {s['shape']}" in caption for s in truth["shapes"])


async def test_the_example_of_the_readme_prints_right_captions(up: Up) -> None:
    paths = sorted(str(path) for path in (up.folder / "pictures").iterdir())
    ran = await up.run(
        "submit", *paths, "--models", "shapes-basic,shapes-blip,shapes-chat", "--wait"
    )
    assert ran.code == 0, ran.err
    lines = [line.split("\t") for line in ran.out.splitlines()]
    assert len(lines) == 3 * len(TRUTH)
    good = sum(right(caption, TRUTH[name]) for name, _, caption in lines)
    assert good >= 0.9 * len(lines)
    assert "truth.json" in ran.err  # left out, and said


async def test_without_wait_the_job_is_printed_and_its_results_come_later(
    up: Up, pictures: Path
) -> None:
    ran = await up.run("submit", str(pictures), "--models", "shapes-basic", "--name", "later")
    assert ran.code == 0, ran.err
    job = ran.out.strip()

    async def captioned() -> list[dict[str, Any]]:
        found = json.loads((await up.run("results", job, "-o", "json")).out)["tasks"]
        return [task for task in found if task["state"] == "captioned"]

    await eventually(lambda: _all(captioned, 3), seconds=60)
    rows = (await up.run("results", job, "-o", "csv")).out.splitlines()
    assert len(rows) == 4 and "three.png" in rows[3]


async def test_sidecars_lie_beside_the_submitted_pictures(up: Up, pictures: Path) -> None:
    await up.run(
        "submit", str(pictures), "--models", "shapes-basic", "--name", "sidecars", "--wait"
    )
    ran = await up.run("results", "sidecars", "--sidecars")
    assert ran.code == 0, ran.err
    assert right((pictures / "one.txt").read_text(), TRUTH["shapes-01.png"])
    assert right((pictures / "beach" / "three.txt").read_text(), TRUTH["shapes-05.png"])


async def test_resume_sends_only_what_is_missing(up: Up, pictures: Path) -> None:
    order = ("submit", str(pictures), "--models", "shapes-basic", "--wait", "-o", "json")
    first = json.loads((await up.run(*order)).out)
    shutil.copy(SHAPES / "pictures" / "shapes-04.png", pictures / "four.png")
    again = json.loads((await up.run(*order, "--resume")).out)
    old, new = sorted(again["jobs"], key=lambda job: job["created_at"])
    assert old["id"] == first["jobs"][0]["id"]
    assert (old["images"], new["images"]) == (3, 1)
    nothing = await up.run(*order, "--resume")
    assert nothing.code == 0
    assert {job["id"] for job in json.loads(nothing.out)["jobs"]} == {old["id"], new["id"]}


async def test_resume_with_one_model_more_asks_only_that_one(up: Up, pictures: Path) -> None:
    order = ("submit", str(pictures), "--name", "more", "--wait", "-o", "json", "--models")
    await up.run(*order, "shapes-basic")
    ran = json.loads((await up.run(*order, "shapes-basic,shapes-blip", "--resume")).out)
    new = max(ran["jobs"], key=lambda job: job["created_at"])
    assert [column["model"] for column in new["columns"]] == ["shapes-blip"]
    assert new["counts"]["captioned"] == 3


async def test_a_file_that_is_no_picture_is_told_and_the_rest_goes_on(
    up: Up, pictures: Path
) -> None:
    (pictures / "broken.jpg").write_text("not a picture")
    ran = await up.run("submit", str(pictures), "--models", "shapes-basic", "--wait")
    assert ran.code == 1
    assert "broken.jpg" in ran.err and "not_an_image" in ran.err
    assert len(ran.out.splitlines()) == 3


async def test_several_prompts_make_several_columns(up: Up, pictures: Path) -> None:
    ran = await up.run(
        "submit", str(pictures / "one.png"), "--models", "shapes-chat", "--wait",
        "--prompt", "How many shapes are there?", "--prompt", "What colors are the shapes?",
    )  # fmt: skip
    captions = [line.split("\t")[2] for line in ran.out.splitlines()]
    assert captions == ["2", "Black and blue."]


async def test_an_unknown_model_is_told_before_anything_is_sent(up: Up, pictures: Path) -> None:
    ran = await up.run("submit", str(pictures), "--models", "shapes-basik")
    assert ran.code == 2
    assert "Did you mean 'shapes-basic'?" in ran.err


async def test_models_pools_workers_and_jobs_are_listed(up: Up) -> None:
    models = (await up.run("get", "models")).out.splitlines()
    assert models[0].split() == ["NAME", "READY", "STATUS", "COPIES", "QUEUED", "WAIT", "AGE"]
    assert any(line.startswith("shapes-blip") for line in models)
    assert "cpu" in (await up.run("get", "pool", "cpu", "-o", "wide")).out
    assert "captionworkerpool/cpu" in (await up.run("get", "pools", "-o", "name")).out
    assert "cpu-1" in (await up.run("get", "workers")).out
    assert (await up.run("get", "jobs")).code == 0
    one = json.loads((await up.run("get", "model", "shapes-weak", "-o", "json")).out)
    assert one["metadata"]["name"] == "shapes-weak"


async def test_describe_says_how_a_model_is_and_why(up: Up) -> None:
    told = (await up.run("describe", "model", "shapes-basic")).out
    assert told.startswith("Name:")
    assert "Conditions:" in told and "Ready" in told and "spec:" in told
    assert (await up.run("describe", "worker", "cpu-1")).code == 0
    missing = await up.run("describe", "model", "nobody")
    assert missing.code == 2 and "nobody" in missing.err


async def test_a_model_is_applied_changed_and_deleted(up: Up, tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    weights = up.folder / "models" / "shapes-basic"
    file.write_text(MODEL.format(weights=weights, tokens=20))
    tried = await up.run("apply", "-f", str(file), "--dry-run")
    assert "captionmodel/extra created (dry run)" in tried.out
    assert (await up.run("get", "model", "extra")).code == 2
    assert "captionmodel/extra created" in (await up.run("apply", "-f", str(file))).out
    assert "unchanged" in (await up.run("apply", "-f", str(file))).out
    file.write_text(MODEL.format(weights=weights, tokens=30))
    assert "configured" in (await up.run("apply", "-f", str(file))).out
    assert "captionmodel/extra deleted" in (await up.run("delete", "model", "extra")).out
    assert (await up.run("get", "model", "extra")).code == 2


async def test_a_persons_own_file_is_never_changed(up: Up) -> None:
    ran = await up.run("delete", "model", "shapes-basic")
    assert ran.code == 1
    assert str(up.folder / "models.yaml") in ran.err


async def test_a_hub_model_is_added_though_the_hub_is_away(up: Up) -> None:
    ran = await run_command(
        "add", "owner/some-captioner", "--revision", "v1", home=up.home,
        CAPTIONFLEET_SERVER=up.url, HF_ENDPOINT="http://127.0.0.1:9",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "captionmodel/some-captioner created" in ran.out
    assert "cannot be reached" in ran.out
    written = up.folder / "managed" / "CaptionModel-some-captioner.yaml"
    assert "revision: v1" in written.read_text()
    again = await up.run("add", "owner/some-captioner")
    assert again.code == 2 and "--name" in again.err
    assert (await up.run("delete", "model", "some-captioner")).code == 0


async def test_logs_of_a_loaded_model_are_found_without_a_flag(up: Up, pictures: Path) -> None:
    await up.run("submit", str(pictures), "--models", "shapes-basic", "--wait")
    ran = await up.run("logs", "shapes-basic")
    assert ran.code == 0, ran.err
    unknown = await up.run("logs", "nobody")
    assert unknown.code == 1 and "captionfleet describe model nobody" in unknown.err


async def test_the_python_client_captions_compares_and_stars(up: Up) -> None:
    picture = SHAPES / "pictures" / "shapes-06.png"
    async with Client(up.url) as client:
        answer = await client.captions(picture, ["shapes-basic", "shapes-blip"], wait=60)
        assert [task.state for task in answer.tasks] == ["captioned", "captioned"]
        assert (await client.star(answer.tasks[0].id)).starred
        job = await client.columns(answer.job.id, ["shapes-chat"], prompts=["What colors?"])
        assert job.columns[-1].prompt == "What colors?"
        assert [event.kind async for event in client.events(job.id)][-1] == "done"
        [row] = [row async for row in client.grid(job.id)]
        assert len(row.cells) == 3 and row.image.filename == picture.name
        assert [column.starred for column in await client.summary(job.id)] == [1, 0, 0]
        await client.delete_job(job.id)
        with pytest.raises(ApiProblem, match=job.id):
            await client.job(job.id)


async def test_a_captioned_task_is_not_tried_again_and_the_demo_is_off(up: Up) -> None:
    async with Client(up.url) as client:
        answer = await client.captions(SHAPES / "pictures" / "shapes-06.png", ["shapes-basic"])
        with pytest.raises(ApiProblem) as refused:
            await client.retry_task(answer.tasks[0].id)
        assert refused.value.status == 409
        with pytest.raises(ApiProblem, match="nothing named blip-base is offered"):
            await client.accept_offer("blip-base")


async def test_doctor_finds_the_fleet_well(up: Up) -> None:
    ran = await up.run("doctor")
    assert ran.code == 0, ran.out
    for word in ("api", "broker", "operator", "workers", "models", "disk"):
        assert f"ok   {word}" in ran.out


async def test_watch_prints_what_changes_until_ctrl_c(up: Up, pictures: Path) -> None:
    await up.run("submit", str(pictures), "--models", "shapes-basic", "--name", "before")
    async with up.running("get", "jobs", "-w") as watching:
        assert watching.stdout
        await watching.stdout.readline()  # the heads: it watches from now on
        ran = await up.run("submit", str(pictures), "--models", "shapes-basic", "--name", "seen")
        while ran.out.strip() not in (await watching.stdout.readline()).decode():
            pass
        watching.send_signal(signal.SIGINT)
        assert await watching.wait() == 0


async def test_ctrl_c_ends_the_waiting_and_not_the_work(up: Up, tmp_path: Path) -> None:
    name = "a-model-that-nobody-has"
    await up.run("add", f"owner/{name}")
    picture = str(SHAPES / "pictures" / "shapes-01.png")
    async with up.running("submit", picture, "--models", name, "--wait") as waiting:
        assert waiting.stderr
        job = (await waiting.stderr.readline()).decode().split()[2]
        async with Client(up.url) as client:
            await eventually(lambda: _waits(client, job))
            waiting.send_signal(signal.SIGINT)
            _, told = await waiting.communicate()
            assert waiting.returncode == 130
            assert f"captionfleet results {job}" in told.decode()
            assert (await client.cancel(job)).state == "cancelled"
    assert (await up.run("delete", "model", name)).code == 0


async def _waits(client: Client, job: str) -> bool:
    return (await client.job(job)).counts.open == 1


async def _all(look: Any, count: int) -> bool:
    return len(await look()) == count


MODEL = """
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {{name: extra}}
spec:
  source: {{volume: {{path: "{weights}"}}}}
  generation: {{maxNewTokens: {tokens}}}
"""
