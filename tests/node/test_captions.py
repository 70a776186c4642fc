"""The main path on a real node: from `helm install` and `kubectl apply` to captions from pods."""

import json
from typing import Any

from tests.conftest import eventually
from tests.fakehub import FakeHub
from tests.node.installation import Installation
from tests.node.jobs import captioned_by, finished, submit
from tests.node.pictures import plain, scenes


async def test_models_are_proven_from_zero_workers(installed: Installation) -> None:
    installed.wait_ready("shapes-basic", "shapes-blip", "oracle")

    history = installed.status("capw", "cpu")["scalingHistory"]
    reasons = [each["reason"] for each in history]
    assert any("to be proven" in reason for reason in reasons), reasons
    rows = installed.kubectl("get", "captionmodels", "--no-headers").splitlines()
    assert {row.split()[1] for row in rows} == {"True"}


def test_helm_test_has_one_picture_captioned(installed: Installation) -> None:
    installed.wait_ready("shapes-basic")

    said = installed.helm("test", "captionfleet", "--timeout", "4m")

    assert "Phase:          Succeeded" in said


async def test_a_hundred_pictures_by_two_models_bring_up_two_pods_and_none_stays(
    installed: Installation,
) -> None:
    await eventually(lambda: not installed.workers(), seconds=120, what="workers at zero")
    models = ["shapes-basic", "shapes-blip"]

    async with installed.client() as client:
        job = await submit(client, scenes(100, seed=1), models)
        tasks = await finished(client, job, seconds=240)

    assert [task.state for task in tasks] == ["captioned"] * 200
    assert len(captioned_by(tasks)) >= 2
    await eventually(lambda: not installed.workers(), seconds=120, what="workers at zero again")
    steps = history(installed)
    assert any("wait for" in step["reason"] for step in steps if step["from"] == 0), steps
    assert max(step["to"] for step in steps) == 2
    assert any("no work for" in step["reason"] for step in steps if step["to"] == 0), steps


async def test_a_worker_deleted_by_force_in_mid_job_loses_nothing(installed: Installation) -> None:
    pictures = plain(80, blue=10)
    async with installed.client() as client:
        job = await submit(client, pictures, ["oracle"])
        await eventually(lambda: some_captioned(client, job), seconds=120)
        victim = installed.workers()[0]

        installed.kubectl("delete", "pod", victim, "--force", "--grace-period=0")
        tasks = await finished(client, job, seconds=240)

    assert len(tasks) == len(pictures)
    said = {task.image.filename: task.caption.text if task.caption else "" for task in tasks}
    assert said == {name: f"color {name.removesuffix('.png')}" for name in pictures}


async def test_a_revision_is_rolled_without_a_failed_task(installed: Installation) -> None:
    async with installed.client() as client:
        job = await submit(client, plain(60, blue=20), ["oracle"])
        await eventually(lambda: some_captioned(client, job), seconds=120)

        kwargs = '{"spec": {"custom": {"kwargs": {"seconds": "0.1", "word": "hue"}}}}'
        installed.kubectl("patch", "capm", "oracle", "--type=merge", "-p", kwargs)
        tasks = await finished(client, job, seconds=240)

    assert {task.state for task in tasks} == {"captioned"}
    revisions = {task.caption.revision for task in tasks if task.caption}
    words = {task.caption.text.split()[0] for task in tasks if task.caption}
    assert (len(revisions), words) == (2, {"color", "hue"})


async def test_a_wrong_repository_is_reported_within_a_minute(installed: Installation) -> None:
    with FakeHub(host=installed.cluster.host_ip) as hub:
        source = {"huggingFace": {"repo": "nobody/nothing", "endpoint": hub.url}}
        installed.apply("CaptionModel", "wrong", {"source": source})

        def told() -> tuple[str, str, str]:
            return installed.condition("capm", "wrong")

        # From zero workers: a pod has to come up before anybody can ask the hub.
        await eventually(lambda: told()[1] == "SourceNotFound", seconds=60)

    assert "nobody/nothing" in told()[2]
    installed.kubectl("delete", "capm", "wrong")


async def test_a_gpu_pool_says_what_is_missing_and_runs_when_it_is_there(
    installed: Installation,
) -> None:
    gpu: dict[str, Any] = {"device": {"type": "GPU"}, "env": {"CAPTIONFLEET_DEVICE": "CPU"}}
    installed.apply("CaptionWorkerPool", "gpu", gpu)

    def told() -> tuple[str, str, str]:
        return installed.condition("capw", "gpu")

    await eventually(lambda: "0/1 nodes have nvidia.com/gpu" in told()[2], seconds=10)
    assert told()[1] == "Unschedulable"

    give(installed, "2")

    await eventually(lambda: scheduled(installed, "gpu"), seconds=60)
    installed.kubectl("delete", "capw", "gpu")
    give(installed, None)


def history(installed: Installation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = installed.status("capw", "cpu").get("scalingHistory", [])
    return found


async def some_captioned(client: Any, job: str) -> bool:
    counts = (await client.job(job)).counts
    return bool(counts.captioned >= 5 and counts.open > 10)


def give(installed: Installation, gpus: str | None) -> None:
    """GPUs for the node, as a device plugin would announce them; None takes them away."""
    amount = {"nvidia.com/gpu": gpus}
    patch = json.dumps({"status": {"capacity": amount, "allocatable": amount}})
    node = installed.cluster.node
    installed.cluster.kubectl(
        "patch", "node", node, "--subresource=status", "--type=merge", "-p", patch
    )


def scheduled(installed: Installation, pool: str) -> bool:
    pods = installed.pods(f"captionfleet.io/pool={pool}")
    return any(pod["spec"].get("nodeName") for pod in pods)
