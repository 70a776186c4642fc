"""The client of the Kubernetes API, on a real API server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.clusters import Cluster
from tests.contract.kubernetes_doors import connected

from captionfleet.catalog.kubernetes_api import KubernetesAPI, KubernetesError, path_of


@pytest.fixture
async def api(control_plane: Cluster) -> AsyncIterator[KubernetesAPI]:
    async with connected(control_plane.kubeconfig) as api:
        yield api


@pytest.fixture
def maps(namespace: str) -> str:
    """The path of a collection that anything may be put into."""
    return path_of("v1", "configmaps", namespace)


def config_map(name: str, **data: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_paths_of_all_lengths() -> None:
    assert path_of("v1", "namespaces") == "/api/v1/namespaces"
    assert path_of("apps/v1", "deployments", "n", "d", "scale") == (
        "/apis/apps/v1/namespaces/n/deployments/d/scale"
    )


async def test_an_object_is_made_read_changed_and_deleted(api: KubernetesAPI, maps: str) -> None:
    assert await api.get(f"{maps}/m") is None
    made = await api.create(maps, config_map("m", a="1"))
    assert await api.get(f"{maps}/m") == made

    patched = await api.patch(f"{maps}/m", {"data": {"a": None, "b": "2"}}, manager="test")
    assert patched["data"] == {"b": "2"}
    await api.replace(f"{maps}/m", {**patched, "data": {"c": "3"}})
    with pytest.raises(KubernetesError, match="the object has been modified") as stale:
        await api.replace(f"{maps}/m", patched)
    assert (stale.value.status, stale.value.reason) == (409, "Conflict")

    assert await api.delete(f"{maps}/m") is True
    assert await api.delete(f"{maps}/m") is False


async def test_apply_removes_what_it_once_applied_and_leaves_what_others_wrote(
    api: KubernetesAPI, maps: str
) -> None:
    await api.apply(f"{maps}/m", config_map("m", ours="1", gone="1"), manager="us")
    await api.patch(f"{maps}/m", {"data": {"theirs": "1"}}, manager="them")
    applied = await api.apply(f"{maps}/m", config_map("m", ours="2"), manager="us")
    assert applied["data"] == {"ours": "2", "theirs": "1"}


async def test_a_dry_run_writes_nothing(api: KubernetesAPI, maps: str) -> None:
    applied = await api.apply(f"{maps}/m", config_map("m"), manager="us", dry_run=True)
    assert applied["metadata"]["uid"]
    assert await api.get(f"{maps}/m") is None


async def test_without_force_a_conflict_names_the_other_manager(
    api: KubernetesAPI, maps: str
) -> None:
    await api.apply(f"{maps}/m", config_map("m", a="1"), manager="them")
    with pytest.raises(KubernetesError, match='conflict with "them"'):
        await api.apply(f"{maps}/m", config_map("m", a="2"), manager="us", force=False)
    await api.apply(f"{maps}/m", config_map("m", a="2"), manager="us")


async def test_an_unknown_field_is_an_error_and_not_dropped(api: KubernetesAPI, maps: str) -> None:
    wrong = {**config_map("m"), "dada": {}}
    with pytest.raises(KubernetesError, match='unknown field "dada"'):
        await api.create(maps, wrong)


async def test_a_refusal_tells_each_field_with_its_reason(api: KubernetesAPI, maps: str) -> None:
    with pytest.raises(KubernetesError) as refused:
        await api.create(maps, config_map("WRONG"))
    (cause,) = refused.value.causes
    assert cause.field == "metadata.name"
    assert "lower case" in cause.message


async def test_a_list_of_many_pages_is_whole(
    api: KubernetesAPI, maps: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("captionfleet.catalog.kubernetes_api._PAGE", 3)
    for name in "abcdefgh":
        labels = {"picked": str(name > "a").lower()}
        await api.create(maps, {**config_map(name), "metadata": {"name": name, "labels": labels}})
    document = await api.list(maps, labelSelector="picked in (true)")
    assert [item["metadata"]["name"] for item in document["items"]] == list("bcdefgh")
    assert int(document["metadata"]["resourceVersion"]) > 0


async def test_a_watch_tells_what_happens_after_a_list(api: KubernetesAPI, maps: str) -> None:
    version = (await api.list(maps))["metadata"]["resourceVersion"]
    watch = api.watch(maps, version, fieldSelector="metadata.name=m")
    first = asyncio.ensure_future(anext(watch))
    await api.create(maps, config_map("other"))
    await api.create(maps, config_map("m", filling="x" * 300_000))
    await api.delete(f"{maps}/m")
    seen = [await first, await anext(watch)]
    await watch.aclose()  # type: ignore[attr-defined]
    assert [event["type"] for event in seen] == ["ADDED", "DELETED"]
    assert len(seen[0]["object"]["data"]["filling"]) == 300_000


async def test_a_version_that_the_server_forgot_is_gone(api: KubernetesAPI, namespace: str) -> None:
    models = path_of("captionfleet.io/v1alpha1", "captionmodels", namespace)
    with pytest.raises(KubernetesError) as gone:
        await anext(api.watch(models, "1"))
    assert gone.value.status == 410


async def test_a_service_account_without_rights_is_told_what_it_lacks(
    control_plane: Cluster, namespace: str, maps: str, tmp_path: Path
) -> None:
    control_plane.kubectl("create", "serviceaccount", "nobody", "-n", namespace)
    kubeconfig = control_plane.kubeconfig_of(namespace, "nobody")
    async with connected(kubeconfig) as api:
        with pytest.raises(KubernetesError, match="cannot list resource") as refused:
            await api.list(maps)
    assert refused.value.status == 403
