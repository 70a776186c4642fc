"""The catalog on Kubernetes: what it makes of lists and events, who keeps a resource, its words."""

from typing import Any

import pytest

from captionfleet.catalog import CatalogError, Conflict, NotFound, Refused, Unavailable
from captionfleet.catalog.kubernetes_errors import Cause, KubernetesError
from captionfleet.catalog.kubernetes_keeper import keeper_of, leftovers
from captionfleet.catalog.kubernetes_mirror import ManifestMirror
from captionfleet.catalog.kubernetes_words import refusal, trouble_sentence
from captionfleet.resources import InvalidManifest


def body(version: int, *, uid: str = "u", generation: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "captionfleet.io/v1alpha1",
        "kind": "CaptionModel",
        "metadata": {
            "name": "m", "uid": uid, "resourceVersion": str(version), "generation": generation,
            "managedFields": [], "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        },
        "spec": {"source": {"huggingFace": {"repo": "some/captioner"}}},
        **more,
    }  # fmt: skip


@pytest.fixture
def mirror() -> ManifestMirror:
    mirror = ManifestMirror()
    assert mirror.see("ADDED", body(5))
    return mirror


def test_the_same_again_is_no_change_and_the_same_object(mirror: ManifestMirror) -> None:
    before = mirror.models()["m"]
    assert not mirror.see("MODIFIED", body(6))
    assert mirror.models()["m"] is before


def test_a_status_alone_leaves_the_spec_the_same_object(mirror: ManifestMirror) -> None:
    before = mirror.models()["m"]
    assert mirror.see("MODIFIED", body(6, status={"message": "loading"}))
    assert mirror.models()["m"].spec is before.spec
    assert (status := mirror.models()["m"].status) and status.message == "loading"


def test_a_status_of_another_version_is_none_rather_than_a_problem(mirror: ManifestMirror) -> None:
    mirror.see("MODIFIED", body(6, status={"of the future": 1}))
    assert mirror.models()["m"].status is None
    assert mirror.problems() == []


def test_old_news_are_dropped(mirror: ManifestMirror) -> None:
    mirror.see("MODIFIED", body(9, generation=2, spec={"custom": {"entrypoint": "m:M"}}))
    assert not mirror.see("MODIFIED", body(7))
    assert not mirror.see("DELETED", body(8))
    assert mirror.models()["m"].spec.source is None


def test_what_we_deleted_does_not_come_back_by_an_event_on_its_way(mirror: ManifestMirror) -> None:
    mirror.forget("CaptionModel", "m")
    assert not mirror.see("MODIFIED", body(6))
    assert mirror.models() == {}
    assert mirror.see("ADDED", body(7, uid="another"))


def test_a_list_removes_what_is_gone_but_not_what_came_after_it(mirror: ManifestMirror) -> None:
    mirror.see_all("CaptionModel", [], "4")
    assert set(mirror.models()) == {"m"}
    assert mirror.see_all("CaptionModel", [], "5")
    assert mirror.models() == {}


def test_never_understood_means_not_there_but_told() -> None:
    mirror = ManifestMirror()
    assert mirror.see("ADDED", body(1, spec={"source": {"ftp": {}}}))
    assert mirror.models() == {}
    (problem,) = mirror.problems()
    assert problem.startswith("CaptionModel m: spec.source.ftp: unknown field")
    assert mirror.see("MODIFIED", body(2, generation=2))
    assert (set(mirror.models()), mirror.problems()) == ({"m"}, [])


def test_a_namesake_does_not_inherit_what_the_first_one_said(mirror: ManifestMirror) -> None:
    mirror.see("MODIFIED", body(6, uid="another", spec={"source": {"ftp": {}}}))
    assert mirror.models() == {}


def managed(manager: str, operation: str = "Update", **more: Any) -> dict[str, Any]:
    entry = {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {}}, **more}
    return {"metadata": {"managedFields": [entry]}}


@pytest.mark.parametrize(
    ("made", "keeper"),
    [
        (managed("us", "Apply"), None),
        (managed("kubectl-edit"), None),
        (managed("kubectl-client-side-apply"), "kubectl apply"),
        (managed("kubectl", "Apply"), "kubectl apply --server-side"),
        (managed("kubectl-thing", "Apply"), "field manager kubectl-thing"),
        (managed("kustomize-controller", "Apply"), "Flux"),
        (managed("keda", subresource="scale"), None),
        (managed("captionfleet-operator", fieldsV1={"f:status": {}}, subresource="status"), None),
        (managed("labeler", fieldsV1={"f:metadata": {"f:labels": {}}}), None),
        ({"metadata": {}}, None),
    ],
)
def test_who_keeps_a_resource(made: dict[str, Any], keeper: str | None) -> None:
    found = keeper_of(made, "us")
    assert (found or "").startswith(keeper or "")
    assert bool(found) == bool(keeper)


def test_what_is_left_over_is_removed_by_a_patch_of_nulls() -> None:
    there = {"a": 1, "b": {"c": 1, "d": {"e": 1}}, "list": [1, 2]}
    assert leftovers(there, {"b": {"d": {"e": 2}}, "list": [1]}) == {"a": None, "b": {"c": None}}
    assert leftovers(there, there) == {}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, NotFound), (409, Conflict), (403, Refused), (0, Unavailable), (503, Unavailable)],
)
def test_a_refusal_says_what_was_not_done_and_why(status: int, kind: type[CatalogError]) -> None:
    told = refusal("CaptionModel m", KubernetesError(status, "Reason", "because"))
    assert type(told) is kind
    assert str(told).startswith("CaptionModel m ")
    assert "because" in str(told)


def test_the_value_that_a_rule_refused_is_not_repeated_before_its_sentence() -> None:
    causes = [
        Cause("spec", 'Invalid value: "object": spec needs source'),
        Cause("spec.x", 'Invalid value: "a \\"quoted\\" one": too long'),
        Cause("", "denied by a policy"),
    ]
    told = refusal("CaptionModel m", KubernetesError(422, "Invalid", "all", causes=causes))
    assert isinstance(told, InvalidManifest)
    assert told.problems == ["spec: spec needs source", "spec.x: too long", "denied by a policy"]


def test_missing_resource_definitions_are_told_with_the_remedy() -> None:
    missing = KubernetesError(404, "NotFound", "the server could not find the requested resource")
    assert "install the chart captionfleet-crds" in trouble_sentence("captionmodels", missing)
