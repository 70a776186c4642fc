"""Manifests: what is accepted, and the sentences for what is not."""

from typing import Any

import pytest

from captionfleet.resources import API_VERSION, InvalidManifest, Manifest, ModelSpec, parse_manifest

HUB = {"huggingFace": {"repo": "owner/name"}}


def model(spec: dict[str, Any], name: str = "m") -> Manifest:
    return parse_manifest(
        {
            "apiVersion": API_VERSION,
            "kind": "CaptionModel",
            "metadata": {"name": name},
            "spec": spec,
        }
    )


def pool(spec: dict[str, Any]) -> Manifest:
    return parse_manifest(
        {
            "apiVersion": API_VERSION,
            "kind": "CaptionWorkerPool",
            "metadata": {"name": "p"},
            "spec": spec,
        }
    )


def test_the_smallest_manifests_work() -> None:
    assert model({"source": HUB}).name == "m"
    assert pool({"device": {"type": "CPU"}}).name == "p"


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({}, "needs source"),
        ({"source": {}}, "source is empty"),
        ({"source": {**HUB, "volume": {"path": "x"}}}, "at most one"),
        ({"source": HUB, "residency": {"policy": "Pinned"}}, "Pinned keeps copies loaded"),
        ({"source": HUB, "residency": {"minCopies": 5}}, "minCopies must not be above"),
        ({"source": HUB, "residency": {"idleUnloadSeconds": 5}}, "idleUnloadSeconds must not"),
        ({"source": HUB, "sped": 1}, "spec.sped: unknown field"),
        ({"source": {"huggingFace": {}}}, "spec.source.huggingFace.repo: required"),
        ({"source": HUB, "batching": {"maxBatchSize": 0}}, "spec.batching.maxBatchSize"),
    ],
)
def test_a_wrong_model_is_refused_with_the_field_and_the_remedy(
    spec: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidManifest, match=sentence):
        model(spec)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"device": {"type": "CPU"}, "replicas": 2}, "replicas is decided by autoscaling"),
        ({"device": {"type": "CPU"}, "autoscaling": {"mode": "Off"}}, "replicas is needed"),
        ({"device": {"type": "CPU"}, "autoscaling": {"minReplicas": 9}}, "minReplicas must not"),
        ({"device": {"type": "TPU"}}, "spec.device.type"),
    ],
)
def test_a_wrong_pool_is_refused_with_the_field_and_the_remedy(
    spec: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidManifest, match=sentence):
        pool(spec)


def test_a_model_name_above_40_characters_is_refused() -> None:
    with pytest.raises(InvalidManifest, match="40 characters"):
        model({"source": HUB}, name="m" * 41)


def test_the_fingerprint_changes_with_what_a_copy_is_made_of_alone() -> None:
    plain = ModelSpec.model_validate({"source": HUB})
    named = ModelSpec.model_validate({"source": HUB, "displayName": "other"})
    beams = ModelSpec.model_validate({"source": HUB, "generation": {"numBeams": 3}})
    assert named.fingerprint() == plain.fingerprint()
    assert beams.fingerprint() != plain.fingerprint()


def test_the_fingerprint_is_the_same_whether_defaults_are_spelled_out_or_left_out() -> None:
    spelled = {"loader": {"dtype": "auto"}, "generation": {"doSample": False}, "inference": {}}
    plain, full = {"source": HUB}, {"source": HUB, **spelled}
    revision = {"source": {"huggingFace": {**HUB["huggingFace"], "revision": "main"}}}

    prints = {ModelSpec.model_validate(each).fingerprint() for each in (plain, full, revision)}

    assert prints == {"e0d08cc6340a6253"}, (
        "a release that changes this digest replaces every copy there is"
    )


def test_how_a_change_is_rolled_out_is_no_change_of_the_copy() -> None:
    plain = ModelSpec.model_validate({"source": HUB})
    careful = ModelSpec.model_validate({"source": HUB, "rollout": {"strategy": "Recreate"}})
    lazy = ModelSpec.model_validate({"source": HUB, "acceptance": {"prove": "OnFirstUse"}})
    assert careful.fingerprint() == lazy.fingerprint() == plain.fingerprint()
