"""The api with its models in a Kubernetes namespace, as the bearer of the chart's narrow role."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.api.doors import Doors, open_doors, picture
from tests.api.test_custom_upload import CODE, CUSTOM, send
from tests.api.test_manifests import model, problem
from tests.api.test_program import NO_BROKER, Program, running
from tests.cluster.clusters import Cluster
from tests.conftest import eventually
from tests.contract.kubernetes_doors import api_server_away, narrow_account

from captionfleet_api.background import Background


@pytest.fixture
def kubeconfig(control_plane: Cluster, namespace: str) -> Path:
    return narrow_account(control_plane, namespace)


@pytest.fixture
async def doors(
    tmp_path: Path, kubeconfig: Path, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Doors]:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    async with open_doors(tmp_path, namespace=namespace) as doors:
        watching = asyncio.create_task(Background(doors.parts)._watch_catalog())
        await eventually(doors.parts.catalog.complete)
        yield doors
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await doors.parts.catalog.close()


@pytest.fixture
def apply(control_plane: Cluster, namespace: str) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        text = yaml.safe_dump(document)
        control_plane.kubectl("-n", namespace, "apply", "-f", "-", input=text)

    return apply


async def test_a_model_is_created_read_replaced_and_deleted(
    doors: Doors, control_plane: Cluster, namespace: str
) -> None:
    created = await doors.client.post("/api/v1/models", json=model())
    assert created.status_code == 201, created.text
    assert created.json()["metadata"]["uid"]
    read = await doors.get("/models/gamma")
    assert (await doors.client.put("/api/v1/models/gamma", json=read)).status_code == 200

    shown = model(displayName="Gamma", custom={"entrypoint": "gamma:Gamma"})
    replaced = await doors.client.put("/api/v1/models/gamma", json=shown)
    assert (replaced.status_code, replaced.json()["spec"]["displayName"]) == (200, "Gamma")
    held = control_plane.get("captionmodel", "gamma", "-n", namespace)
    assert "source" not in held["spec"]

    assert (await doors.client.delete("/api/v1/models/gamma")).status_code == 204
    problem(await doors.client.get("/api/v1/models/gamma"), 404)
    problem(await doors.client.delete("/api/v1/models/gamma"), 404)


async def test_what_kubectl_applied_is_offered_and_left_to_kubectl(
    doors: Doors, apply: Callable[[dict[str, Any]], None]
) -> None:
    apply(model("alpha"))
    await eventually(doors.parts.catalog.models)
    job = await doors.make_job("red", models=["alpha"])
    assert job["counts"]["pending"] == 1
    for answer in (
        await doors.client.put("/api/v1/models/alpha", json=model("alpha")),
        await doors.client.delete("/api/v1/models/alpha"),
    ):
        assert "is kept by kubectl apply" in problem(answer, 409)["detail"]


async def test_dry_runs_and_refusals_speak_as_in_a_folder(doors: Doors) -> None:
    dry = {"dryRun": "All"}
    assert (await doors.client.post("/api/v1/models", json=model(), params=dry)).status_code == 201
    problem(await doors.client.get("/api/v1/models/gamma"), 404)
    told = problem(await doors.client.post("/api/v1/models", json=model(displayName="x")), 422)
    assert "spec needs source (weights), custom (code) or both" in told["detail"]


async def test_uploaded_code_stands_in_config_maps_and_comes_back_by_a_rollback(
    doors: Doors, control_plane: Cluster, namespace: str
) -> None:
    for word in ("line", "word", "verse"):
        assert (await send(doors, CODE.replace("line", word))).status_code == 201
    back = await doors.client.post(f"{CUSTOM}/liner/rollback", json={"version": 1})
    assert back.status_code == 201, back.text
    versions = (await doors.get("/models/custom/liner/versions"))["items"]
    assert [each["number"] for each in versions if each["current"]] == [4]

    spec = control_plane.get("captionmodel", "liner", "-n", namespace)["spec"]
    named = spec["custom"]["configMapRef"]["name"]
    held = control_plane.get("configmap", named, "-n", namespace)
    assert held["data"] == {"liner.py": CODE}
    assert named.split("-code-")[1].startswith(versions[0]["sha256"][:12])
    everything = {"mood": "gay"}
    await doors.client.put(f"{CUSTOM}/liner/kwargs", json={"kwargs": everything})
    spec = control_plane.get("captionmodel", "liner", "-n", namespace)["spec"]
    assert spec["custom"]["kwargs"] == everything
    assert spec["custom"]["configMapRef"]["name"] == named


async def test_the_fleet_says_where_its_models_are_kept(doors: Doors, namespace: str) -> None:
    catalog = (await doors.get("/fleet"))["catalog"]
    assert catalog == {"kind": "namespace", "name": namespace, "trouble": ""}


async def test_before_the_first_reading_nothing_is_unknown_or_deleted(
    tmp_path: Path, namespace: str
) -> None:
    async with open_doors(tmp_path, namespace=namespace) as doors:
        (red,) = await doors.upload("red")
        order = {"images": [red], "models": ["alpha"]}
        for answer in (
            await doors.client.post("/api/v1/jobs", json=order),
            await doors.client.get("/api/v1/models/alpha"),
            await doors.client.get("/readyz"),
        ):
            assert answer.status_code == 503
            assert "not read yet" in answer.text


@asynccontextmanager
async def program(folder: Path, kubeconfig: Path, namespace: str) -> AsyncIterator[Program]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CAPTIONFLEET_")}
    settings = kept | {
        "RABBITMQ_URL": NO_BROKER, "CAPTIONFLEET_DATA": str(folder / "data"),
        "CAPTIONFLEET_PORT": "0", "CAPTIONFLEET_NAMESPACE": namespace,
        "CAPTIONFLEET_MODEL_DELETED_SECONDS": "1", "KUBECONFIG": str(kubeconfig),
    }  # fmt: skip
    async with running(settings) as program:
        yield program


async def test_it_keeps_serving_while_the_api_server_is_away(
    tmp_path: Path, control_plane: Cluster, kubeconfig: Path, namespace: str,
    apply: Callable[[dict[str, Any]], None],
) -> None:  # fmt: skip
    apply(model("alpha"))
    async with program(tmp_path, kubeconfig, namespace) as api, api.doors as doors:
        await eventually(lambda: is_ready(doors, api), what="the api is ready")
        with api_server_away(control_plane):
            told = await eventually(lambda: catalog_trouble(doors, api), what="readyz tells")
            assert "the Kubernetes API at" in told
            job = await make_job(doors)
            problem(await doors.put("/models/beta", json=model("beta")), 503)
            assert (await doors.get("/models/alpha")).status_code == 200
        await eventually(lambda: trouble_is_over(doors, api), what="readyz is content again")
        assert (await doors.get(f"/jobs/{job}")).json()["counts"]["pending"] == 1


async def test_started_without_an_api_server_it_fails_no_task_and_waits(
    tmp_path: Path, control_plane: Cluster, kubeconfig: Path, namespace: str,
    apply: Callable[[dict[str, Any]], None],
) -> None:  # fmt: skip
    apply(model("alpha"))
    async with program(tmp_path, kubeconfig, namespace) as api, api.doors as doors:
        await eventually(lambda: is_ready(doors, api), what="the api is ready")
        job = await make_job(doors)
    with ExitStack() as away:
        away.enter_context(api_server_away(control_plane))
        async with program(tmp_path, kubeconfig, namespace) as api, api.doors as doors:
            await eventually(lambda: catalog_trouble(doors, api), what="readyz tells")
            assert (await doors.get(f"{api.url}readyz")).status_code == 503
            away.close()
            await eventually(lambda: is_ready(doors, api), what="the api is ready")
            assert (await doors.get(f"/jobs/{job}")).json()["counts"]["pending"] == 1


async def make_job(doors: httpx.AsyncClient) -> str:
    image = (await doors.post("/images", content=picture())).json()["id"]
    answer = await doors.post("/jobs", json={"images": [image], "models": ["alpha"]})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def is_ready(doors: httpx.AsyncClient, api: Program) -> bool:
    return (await doors.get(f"{api.url}readyz")).status_code == 200


async def catalog_trouble(doors: httpx.AsyncClient, api: Program) -> str:
    told = str((await doors.get(f"{api.url}readyz")).json()["catalog"])
    return told if "may be out of date" in told else ""


async def trouble_is_over(doors: httpx.AsyncClient, api: Program) -> bool:
    return bool((await doors.get(f"{api.url}readyz")).json()["catalog"] == "ok")
