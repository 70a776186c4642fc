"""The catalog that is the Kubernetes API, on a real API server with the api's narrow account."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.clusters import Cluster
from tests.conftest import eventually
from tests.contract.kubernetes_doors import api_server_away, connected, narrow_account

from captionfleet.catalog import Conflict, NotFound, Refused, Unavailable
from captionfleet.catalog.kubernetes import KubernetesCatalog
from captionfleet.catalog.kubernetes_api import KubernetesAPI
from captionfleet.resources import (
    InvalidManifest,
    ModelManifest,
    ModelPhase,
    ModelStatus,
    parse_manifest,
)

API_VERSION = "captionfleet.io/v1alpha1"


def document(name: str = "m", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "CaptionModel",
        "metadata": {"name": name},
        "spec": spec or {"source": {"huggingFace": {"repo": "some/captioner"}}},
    }


def manifest(name: str = "m", **spec: Any) -> ModelManifest:
    made = parse_manifest(document(name, **spec))
    assert isinstance(made, ModelManifest)
    return made


@pytest.fixture
def kubeconfig(control_plane: Cluster, namespace: str) -> Path:
    """Of a service account with the rights of the api and no other."""
    return narrow_account(control_plane, namespace)


@asynccontextmanager
async def watching(catalog: KubernetesCatalog) -> AsyncIterator[None]:
    """As the api does: somebody follows the changes all the time."""

    async def follow() -> None:
        async for _ in catalog.watch():
            pass

    following = asyncio.create_task(follow())
    try:
        await eventually(catalog.complete, what="the catalog was read")
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@pytest.fixture
async def catalog(kubeconfig: Path, namespace: str) -> AsyncIterator[KubernetesCatalog]:
    async with connected(kubeconfig) as api:
        catalog = KubernetesCatalog(namespace, api)
        async with watching(catalog):
            yield catalog


@pytest.fixture
def kubectl(control_plane: Cluster, namespace: str) -> Callable[..., str]:
    def run(*args: str, input: str | None = None) -> str:
        return control_plane.kubectl("-n", namespace, *args, input=input)

    return run


def held(kubectl: Callable[..., str], name: str = "m") -> dict[str, Any]:
    """What the server holds of a model."""
    found: dict[str, Any] = yaml.safe_load(kubectl("get", "captionmodel", name, "-o", "yaml"))
    return found


async def test_what_is_applied_is_seen_with_what_the_server_adds(
    catalog: KubernetesCatalog, control_plane: Cluster, namespace: str
) -> None:
    pool = {**document("cpu", device={"type": "CPU"}), "kind": "CaptionWorkerPool"}
    for each in (document(), pool):
        each["metadata"]["namespace"] = namespace
        control_plane.apply(each)
    await eventually(lambda: catalog.models() and catalog.pools())
    metadata = catalog.models()["m"].metadata
    assert metadata.generation == 1
    assert metadata.uid
    assert metadata.creation_timestamp
    assert metadata.annotations == {}
    assert catalog.pools()["cpu"].spec.device.type == "CPU"
    assert catalog.problems() == []


async def test_changes_and_deletions_are_told(
    catalog: KubernetesCatalog, kubectl: Callable[..., str]
) -> None:
    kubectl("apply", "-f", "-", input=yaml.safe_dump(document()))
    await eventually(catalog.models)
    kubectl("patch", "captionmodel", "m", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    await eventually(lambda: catalog.models()["m"].spec.suspend)
    assert catalog.models()["m"].metadata.generation == 2
    kubectl("delete", "captionmodel", "m")
    await eventually(lambda: not catalog.models())


async def test_a_resource_is_created_replaced_and_deleted(
    catalog: KubernetesCatalog, kubectl: Callable[..., str]
) -> None:
    made = await catalog.put(manifest(displayName="First", custom={"entrypoint": "m:M"}))
    assert catalog.models() == {"m": made}
    assert made.metadata.uid

    replaced = await catalog.put(manifest())
    assert catalog.models()["m"] == replaced
    assert "displayName" not in held(kubectl)["spec"]
    assert "custom" not in held(kubectl)["spec"]

    await catalog.delete("CaptionModel", "m")
    assert catalog.models() == {}
    with pytest.raises(NotFound, match="no CaptionModel named m"):
        await catalog.delete("CaptionModel", "m")


async def test_what_was_read_can_be_put_back(catalog: KubernetesCatalog) -> None:
    read = await catalog.put(manifest())
    again = await catalog.put(read)
    assert again.metadata.generation == read.metadata.generation == 1


async def test_a_dry_run_asks_the_server_and_writes_nothing(
    catalog: KubernetesCatalog, kubectl: Callable[..., str]
) -> None:
    judged = await catalog.put(manifest(), dry_run=True)
    assert judged.metadata.uid
    assert kubectl("get", "captionmodels", "-o", "name") == ""
    assert catalog.models() == {}


async def test_a_broken_rule_reads_the_same_as_in_a_folder(catalog: KubernetesCatalog) -> None:
    wrong = manifest().model_copy(
        update={"spec": manifest().spec.model_copy(update={"source": None})}
    )
    with pytest.raises(InvalidManifest, match="spec needs source") as told:
        await catalog.put(wrong)
    assert [each.partition(":")[0] for each in told.value.problems] == ["spec"]


async def test_what_only_the_server_refuses_is_told_by_field(
    catalog: KubernetesCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an admission policy would: here our own judgement is left out."""
    wrong = manifest().model_copy(
        update={"spec": manifest().spec.model_copy(update={"source": None})}
    )
    monkeypatch.setattr("captionfleet.catalog.kubernetes.parse_manifest", lambda *_: wrong)
    with pytest.raises(InvalidManifest) as told:
        await catalog.put(wrong)
    (problem,) = told.value.problems
    assert problem.startswith("spec: spec needs source (weights), custom (code) or both")


async def test_what_another_tool_keeps_is_not_touched(
    catalog: KubernetesCatalog, kubectl: Callable[..., str]
) -> None:
    for number, (command, keeper) in enumerate(
        [
            ("apply", "kubectl apply (field manager kubectl-client-side-apply)"),
            ("apply --server-side --field-manager=argocd-controller", "Argo CD"),
            ("create --field-manager=helm", "Helm (field manager helm)"),
            ("create --field-manager=somebody", "field manager somebody"),
        ]
    ):
        name = f"m{number}"
        kubectl(*command.split(), "-f", "-", input=yaml.safe_dump(document(name)))
        before = held(kubectl, name)
        for attempt in (
            catalog.put(manifest(name, suspend=True, custom={"entrypoint": "m:M"})),
            catalog.put(manifest(name), dry_run=True),
            catalog.delete("CaptionModel", name),
        ):
            with pytest.raises(Conflict) as told:
                await attempt
            assert f"CaptionModel {name} is kept by {keeper}" in str(told.value)
        assert held(kubectl, name) == before


async def test_an_edit_by_hand_does_not_lock_us_out_and_is_replaced(
    catalog: KubernetesCatalog, kubectl: Callable[..., str]
) -> None:
    await catalog.put(manifest())
    edit = '{"spec":{"displayName":"By hand","suspend":true,"custom":{"entrypoint":"x:X"}}}'
    kubectl("patch", "captionmodel", "m", "--type=merge", "-p", edit)
    kubectl("label", "captionmodel", "m", "team=ours")
    kept = await catalog.put(manifest())
    assert kept.spec == manifest().spec
    assert catalog.models()["m"].metadata.labels == {"team": "ours"}


async def test_a_status_is_written_whole_and_never_by_the_api(
    catalog: KubernetesCatalog, control_plane: Cluster, namespace: str
) -> None:
    await catalog.put(manifest())
    ready = ModelStatus(phase=ModelPhase.READY, message="ready on cpu-1", cached_on=["cpu-1"])
    with pytest.raises(Refused, match="cannot patch resource"):
        await catalog.write_status("CaptionModel", "m", ready)

    async with connected(control_plane.kubeconfig) as api:
        operator = KubernetesCatalog(namespace, api)
        operator.see("ADDED", await _body(api, namespace))
        await operator.write_status("CaptionModel", "m", ready)
        assert operator.models()["m"].status == ready
        await eventually(lambda: catalog.models()["m"].status == ready)

        bare = ModelStatus(phase=ModelPhase.PENDING)
        await operator.write_status("CaptionModel", "m", bare)
        await eventually(lambda: catalog.models()["m"].status == bare)
    assert catalog.models()["m"].metadata.generation == 1


async def test_a_status_for_what_is_gone_is_no_error(
    control_plane: Cluster, namespace: str
) -> None:
    async with connected(control_plane.kubeconfig) as api:
        operator = KubernetesCatalog(namespace, api)
        await operator.write_status("CaptionModel", "gone", ModelStatus())
        assert operator.models() == {}


async def test_what_our_types_refuse_is_told_and_its_last_good_version_counts(
    catalog: KubernetesCatalog, control_plane: Cluster, namespace: str
) -> None:
    await catalog.put(manifest())
    async with connected(control_plane.kubeconfig) as api:
        body = await _body(api, namespace)
    newer = {**body["metadata"], "generation": 2, "resourceVersion": "999999"}
    spec = {**body["spec"], "shiny": 1, "suspend": True}
    catalog.see("MODIFIED", {**body, "metadata": newer, "spec": spec})
    assert catalog.problems() == [
        "CaptionModel m: spec.shiny: unknown field; remove it or correct its name"
    ]
    assert catalog.models()["m"].spec.suspend is False


async def test_an_api_server_that_was_away_is_waited_for_and_nothing_is_missed(
    catalog: KubernetesCatalog, control_plane: Cluster, kubectl: Callable[..., str]
) -> None:
    for name in ("m", "n"):
        await catalog.put(manifest(name))
    with api_server_away(control_plane):
        told = await eventually(catalog.trouble, what="the catalog tells the trouble")
        assert "may be out of date: the Kubernetes API at" in told
        assert set(catalog.models()) == {"m", "n"}
        with pytest.raises(Unavailable, match="does not answer"):
            await catalog.put(manifest("o"))

    kubectl("delete", "captionmodel", "m")
    await eventually(lambda: set(catalog.models()) == {"n"}, what="the deletion was seen")
    await eventually(lambda: not catalog.trouble(), what="the trouble is over")
    await catalog.put(manifest("o"))


class Forgetful(KubernetesAPI):
    """Its first watches begin at a moment that the server has forgotten."""

    watches = 0

    def watch(self, path: str, resource_version: str, **query: str) -> AsyncIterator[Any]:
        self.watches += 1
        return super().watch(path, "1" if self.watches <= 2 else resource_version, **query)


async def test_a_watch_that_fell_behind_begins_anew_with_a_list(
    kubeconfig: Path, namespace: str, kubectl: Callable[..., str]
) -> None:
    async with connected(kubeconfig) as api:
        forgetful = Forgetful(api._session)
        catalog = KubernetesCatalog(namespace, forgetful)
        async with watching(catalog):
            kubectl("apply", "-f", "-", input=yaml.safe_dump(document()))
            await eventually(catalog.models)
            await eventually(lambda: forgetful.watches >= 4, what="both kinds are watched anew")
            assert catalog.trouble() == ""


async def test_before_the_first_reading_absence_means_nothing(namespace: str) -> None:
    catalog = KubernetesCatalog(namespace)
    assert not catalog.complete()
    catalog.see_all("CaptionModel", [], "1")
    assert not catalog.complete()
    catalog.see_all("CaptionWorkerPool", [], "1")
    assert catalog.complete()


async def _body(api: Any, namespace: str) -> Any:
    return await api.get(f"/apis/{API_VERSION}/namespaces/{namespace}/captionmodels/m")


# Uploaded code


def with_code(text: str, name: str = "m", **custom: Any) -> ModelManifest:
    files = [{"path": "mine.py", "content": text}]
    return manifest(name, custom={"entrypoint": "mine:Mine", "files": files, **custom})


def maps(kubectl: Callable[..., str], name: str = "m") -> list[dict[str, Any]]:
    """ConfigMaps of a model's code."""
    selector = f"captionfleet.io/model={name}"
    found: dict[str, Any] = yaml.safe_load(kubectl("get", "cm", "-l", selector, "-o", "yaml"))
    items: list[dict[str, Any]] = found["items"]
    return items


async def test_code_is_kept_in_a_config_map_that_the_model_owns(
    catalog: KubernetesCatalog, kubectl: Callable[..., str]
) -> None:
    await catalog.put_code(with_code("first"))
    custom = held(kubectl)["spec"]["custom"]
    [map_] = maps(kubectl)
    assert custom["configMapRef"] == {"name": map_["metadata"]["name"]}
    assert not custom.get("files")
    assert (map_["immutable"], map_["data"]) == (True, {"mine.py": "first"})
    [owner] = map_["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("CaptionModel", held(kubectl)["metadata"]["uid"])
    kubectl("delete", "captionmodel", "m")
    await eventually(lambda: maps(kubectl) == [], what="the code goes with its model")


async def test_old_code_is_removed_but_for_the_version_before(
    catalog: KubernetesCatalog, kubectl: Callable[..., str]
) -> None:
    for text in ("first", "second", "third"):
        await catalog.put_code(with_code(text))
    assert {each["data"]["mine.py"] for each in maps(kubectl)} == {"second", "third"}


async def test_other_arguments_of_the_same_code_need_no_other_config_map(
    catalog: KubernetesCatalog, kubectl: Callable[..., str]
) -> None:
    first = await catalog.put_code(with_code("first"))
    second = await catalog.put_code(with_code("first", kwargs={"style": "terse"}))
    assert isinstance(first, ModelManifest) and isinstance(second, ModelManifest)
    assert first.spec.custom and second.spec.custom
    assert second.spec.custom.config_map_ref == first.spec.custom.config_map_ref
    assert second.spec.fingerprint() != first.spec.fingerprint()
    assert len(maps(kubectl)) == 1


async def test_lost_code_is_made_again_by_sending_it_again(
    catalog: KubernetesCatalog, kubectl: Callable[..., str]
) -> None:
    await catalog.put_code(with_code("first"))
    kubectl("delete", "cm", "-l", "captionfleet.io/model=m")
    await catalog.put_code(with_code("first"))
    assert [each["data"]["mine.py"] for each in maps(kubectl)] == ["first"]


async def test_code_of_a_model_that_another_tool_keeps_is_refused(
    catalog: KubernetesCatalog, kubectl: Callable[..., str]
) -> None:
    kubectl("apply", "-f", "-", input=yaml.safe_dump(document()))
    await eventually(catalog.models)
    with pytest.raises(Conflict, match="kubectl apply"):
        await catalog.put_code(with_code("first"))
