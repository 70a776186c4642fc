"""Models and pools over REST: manifests judged with words, files of people left alone."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.doors import Doors, open_doors

POOL = """
apiVersion: captionfleet.io/v1alpha1
kind: CaptionWorkerPool
metadata: {name: cpu}
spec: {device: {type: CPU}}
"""


def model(name: str = "gamma", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "captionfleet.io/v1alpha1",
        "kind": "CaptionModel",
        "metadata": {"name": name},
        "spec": spec or {"source": {"huggingFace": {"repo": "some/captioner"}}},
    }


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path) as doors:
        yield doors


def problem(answer: httpx.Response, status: int) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


async def test_a_model_is_created_read_replaced_and_deleted(doors: Doors) -> None:
    created = await doors.client.post("/api/v1/models", json=model())
    assert created.status_code == 201
    assert created.headers["location"] == "/api/v1/models/gamma"
    assert (await doors.get("/models/gamma"))["spec"]["source"]["huggingFace"]["revision"] == "main"

    shown = model(displayName="Gamma", custom={"entrypoint": "gamma:Gamma"})
    replaced = await doors.client.put("/api/v1/models/gamma", json=shown)
    assert (replaced.status_code, replaced.json()["spec"]["displayName"]) == (200, "Gamma")
    names = [item["metadata"]["name"] for item in (await doors.get("/models"))["items"]]
    assert names == ["alpha", "beta", "gamma"]

    assert (await doors.client.delete("/api/v1/models/gamma")).status_code == 204
    problem(await doors.client.get("/api/v1/models/gamma"), 404)
    problem(await doors.client.delete("/api/v1/models/gamma"), 404)


async def test_what_was_read_can_be_sent_back(doors: Doors) -> None:
    await doors.client.post("/api/v1/models", json=model())
    read = await doors.get("/models/gamma")
    assert (await doors.client.put("/api/v1/models/gamma", json=read)).status_code == 200


async def test_a_pool_comes_as_yaml(doors: Doors) -> None:
    yaml = {"content-type": "application/yaml"}
    created = await doors.client.put("/api/v1/pools/cpu", content=POOL, headers=yaml)
    assert created.status_code == 201
    assert [item["metadata"]["name"] for item in (await doors.get("/pools"))["items"]] == ["cpu"]


async def test_a_dry_run_judges_and_writes_nothing(doors: Doors) -> None:
    dry = {"dryRun": "All"}
    assert (await doors.client.post("/api/v1/models", json=model(), params=dry)).status_code == 201
    problem(await doors.client.get("/api/v1/models/gamma"), 404)
    problem(await doors.client.post("/api/v1/models", json=model(spec=1), params=dry), 422)
    bad = await doors.client.post("/api/v1/models", json=model(), params={"dryRun": "Some"})
    assert problem(bad, 422)["field"] == "dryRun"


async def test_all_problems_of_a_manifest_are_told_with_their_fields(doors: Doors) -> None:
    wrong = model(custom={"entrypoint": "no colon"}, sources={}, batching={"maxBatchSize": 0})
    told = problem(await doors.client.post("/api/v1/models", json=wrong), 422)
    assert {each.partition(":")[0] for each in told["problems"]} == {
        "spec.custom.entrypoint", "spec.sources", "spec.batching.maxBatchSize",
    }  # fmt: skip


async def test_a_broken_rule_is_told_in_its_own_words(doors: Doors) -> None:
    wrong = model(displayName="neither weights nor code")
    told = problem(await doors.client.post("/api/v1/models", json=wrong), 422)
    assert "spec needs source (weights), custom (code) or both" in told["detail"]


async def test_the_file_of_a_person_is_named_and_not_touched(doors: Doors, tmp_path: Path) -> None:
    for answer in (
        await doors.client.put("/api/v1/models/alpha", json=model("alpha")),
        await doors.client.delete("/api/v1/models/alpha"),
    ):
        assert "models.yaml" in problem(answer, 409)["detail"]
    assert (
        "PUT"
        in problem(await doors.client.post("/api/v1/models", json=model("beta")), 409)["detail"]
    )


async def test_a_manifest_at_the_wrong_door_is_sent_to_the_right_one(doors: Doors) -> None:
    assert problem(await doors.client.post("/api/v1/pools", json=model()), 422)["field"] == "kind"
    other = await doors.client.put("/api/v1/models/delta", json=model())
    assert problem(other, 422)["field"] == "metadata.name"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{not json", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"a: [", "application/yaml"),
        (b"a: &a [1, 1]\nb: [*a, *a]", "application/yaml"),
        (b"- just\n- a list", "application/yaml"),
        (b"!!python/object/apply:os.system [true]", "application/yaml"),
    ],
)
async def test_what_is_no_manifest_is_refused(doors: Doors, content: bytes, kind: str) -> None:
    headers = {"content-type": kind}
    problem(await doors.client.post("/api/v1/models", content=content, headers=headers), 422)


async def test_an_unreasonably_large_manifest_is_refused_early(doors: Doors) -> None:
    told = problem(await doors.client.post("/api/v1/models", content=b" " * 3_000_000), 413)
    assert told["code"] == "too_large"


async def test_the_fleet_tells_how_it_stands(doors: Doors) -> None:
    fleet = await doors.get("/fleet")
    assert fleet["broker"]["connected"] is False
    assert fleet["broker"]["message"]
    assert fleet["operator"] == {
        "seen_seconds": None,
        "message": "no operator was heard yet: start one",
    }
    assert (fleet["workers"], fleet["demo"]) == (0, None)
    assert (await doors.get("/workers"))["items"] == []


async def test_refused_manifests_are_told_with_the_fleet(doors: Doors, tmp_path: Path) -> None:
    (tmp_path / "catalog" / "more.yaml").write_text(POOL.replace("CPU", "TPU"))
    doors.parts.catalog.refresh()  # type: ignore[attr-defined]
    (told,) = (await doors.get("/fleet"))["catalog_problems"]
    assert "more.yaml" in told
    assert "spec.device.type" in told


async def test_the_demo_offers_models_that_one_click_adds(tmp_path: Path) -> None:
    async with open_doors(tmp_path, demo=True) as doors:
        demo = (await doors.get("/fleet"))["demo"]
        assert demo["hub_reachable"] is None
        assert {offer["name"] for offer in demo["offers"]} == {
            "blip-base",
            "git-base-coco",
            "vit-gpt2",
        }
        added = await doors.client.post("/api/v1/fleet/offers/blip-base")
        assert added.json()["spec"]["source"]["huggingFace"]["repo"].startswith("Salesforce/")
        left = (await doors.get("/fleet"))["demo"]["offers"]
        assert {offer["name"] for offer in left} == {"git-base-coco", "vit-gpt2"}
        problem(await doors.client.post("/api/v1/fleet/offers/other"), 404)


async def test_nothing_is_offered_outside_the_demo(doors: Doors) -> None:
    problem(await doors.client.post("/api/v1/fleet/offers/blip-base"), 404)
