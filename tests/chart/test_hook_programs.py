"""The small programs that the chart carries: the quickstart's and `helm test`'s."""

import base64
import importlib.util
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from tests.chart.helm import CHART, Helm
from tests.cluster.clusters import Cluster
from tests.conftest import eventually
from tests.scripted_server import Answer, scripted_server

POOL = {"apiVersion": "captionfleet.io/v1alpha1", "kind": "CaptionWorkerPool",
        "metadata": {"name": "cpu"}, "spec": {"device": {"type": "CPU"}}}  # fmt: skip
MODEL = {"apiVersion": "captionfleet.io/v1alpha1", "kind": "CaptionModel",
         "metadata": {"name": "blip"},
         "spec": {"source": {"huggingFace": {"repo": "a/b"}}}}  # fmt: skip
IMAGE = {"id": "i", "filename": "circle.png", "sha256": "s", "width": 1, "height": 1}


def carried(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, CHART / "files" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def quickstart(
    control_plane: Cluster, namespace: str, helm: Helm, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> ModuleType:  # fmt: skip
    """The program as it finds itself in its pod: with the rights of the api, and no others."""
    rendered = helm.template({"crds": {"enabled": False}}, namespace=namespace)
    rights = [each for each in rendered.documents if each["metadata"]["name"] == "captionfleet-api"]
    kinds = ("ServiceAccount", "Role", "RoleBinding")
    control_plane.apply([each for each in rights if each["kind"] in kinds], "-n", namespace)
    config = yaml.safe_load(control_plane.kubeconfig_of(namespace, "captionfleet-api").read_text())
    (tmp_path / "token").write_text(config["users"][0]["user"]["token"])
    cluster = config["clusters"][0]["cluster"]
    if ca := cluster.get("certificate-authority-data"):
        (tmp_path / "ca.crt").write_bytes(base64.b64decode(ca))
    else:
        (tmp_path / "ca.crt").symlink_to(cluster["certificate-authority"])
    host, _, port = control_plane.server.removeprefix("https://").rpartition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setenv("CAPTIONFLEET_NAMESPACE", namespace)
    module = carried("quickstart")
    monkeypatch.setattr(module, "_ACCOUNT", tmp_path)
    return module


async def test_quickstart_makes_what_is_missing_and_leaves_the_rest_alone(
    quickstart: ModuleType, control_plane: Cluster, namespace: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    changed = {**POOL, "spec": {"device": {"type": "CPU"}, "autoscaling": {"maxReplicas": 9}}}
    control_plane.apply(changed, "-n", namespace)
    monkeypatch.setenv("MANIFESTS", json.dumps([POOL, MODEL]))

    quickstart.main()

    assert capsys.readouterr().out.splitlines() == [
        "quickstart: CaptionWorkerPool cpu was there and is left alone",
        "quickstart: CaptionModel blip made",
    ]
    pool = control_plane.get("captionworkerpool", "cpu", "-n", namespace)
    assert pool["spec"]["autoscaling"]["maxReplicas"] == 9
    await eventually(lambda: control_plane.get("captionmodel", "blip", "-n", namespace))


def test_quickstart_says_why_a_resource_is_refused(
    quickstart: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MANIFESTS", json.dumps([{**MODEL, "spec": {}}]))
    with pytest.raises(SystemExit, match="CaptionModel blip was not made"):
        quickstart.main()
    assert "CaptionModel.captionfleet.io" in capsys.readouterr().out


def test_quickstart_waits_until_its_types_are_known(
    quickstart: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quickstart, "_SECONDS", 0)
    monkeypatch.setenv("MANIFESTS", json.dumps([{**MODEL, "apiVersion": "captionfleet.io/v9"}]))
    with pytest.raises(SystemExit, match="CaptionModel blip was not made"):
        quickstart.main()
    assert "404" in capsys.readouterr().out


def task(**fields: Any) -> dict[str, Any]:
    return {
        "id": "t", "job": "j", "image": IMAGE, "column": "c", "model": "blip", "state": "pending",
        "attempts": 1, **fields,
    }  # fmt: skip


def job() -> dict[str, Any]:
    zero = ("pending", "queued", "running", "captioned", "failed", "cancelled")
    return {
        "id": "j", "name": "", "state": "running", "counts": dict.fromkeys(zero, 0),
        "rejected": [], "columns": [], "images": 1, "created_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip


@pytest.fixture
async def tester(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, Any]]:
    """`helm test`'s program against an api that answers what the test writes here."""
    answers: dict[str, Any] = {"models": [], "task": task(), "asked": b""}

    async def captions(request: Request) -> Response:
        answers["asked"] = await request.body()
        return JSONResponse({"job": job(), "tasks": [answers["task"]]})

    async def models(_: Request) -> Response:
        return JSONResponse({"items": answers["models"], "next": None})

    doors: dict[str, Answer] = {"POST /api/v1/captions": captions, "GET /api/v1/models": models}
    async with scripted_server(doors) as url:
        for name, value in (
            ("CAPTIONFLEET_URL", url), ("CAPTIONFLEET_TOKEN", "secret-token"),
            ("MODEL", ""), ("SECONDS_TO_WAIT", "20"),
        ):  # fmt: skip
            monkeypatch.setenv(name, value)
        yield answers


async def test_helm_test_sends_a_picture_to_a_model_that_is_ready(
    tester: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    tester["models"] = [
        {"metadata": {"name": "waiting"}},
        {"metadata": {"name": "blip"}, "status": ready},
    ]
    caption = {"text": "a red circle", "finish": "stop", "seconds": 1.0, "revision": "r"}
    tester["task"] = task(state="captioned", caption=caption)

    await carried("caption_one_picture").main()

    assert capsys.readouterr().out == "helm test: blip sees: a red circle\n"
    assert b"\x89PNG" in tester["asked"]
    assert b"waiting" not in tester["asked"]


async def test_helm_test_fails_with_the_reason_why_a_task_waits(
    tester: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL", "blip")
    tester["task"] = task(reason="no pool matches")
    with pytest.raises(SystemExit, match="no caption by blip in 20 s, pending: no pool"):
        await carried("caption_one_picture").main()


async def test_helm_test_without_any_model_says_what_to_do(tester: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="there is no model; apply one"):
        await carried("caption_one_picture").main()
