"""Manifests on their way to the server: read, judged, anchored, and made from a repository."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captionfleet.resources import parse_manifest
from captionfleet_cli.apply import hub_manifest, read, size_hint
from captionfleet_cli.hub import RepoFacts, facts
from captionfleet_cli.trouble import Exit, Trouble

MODEL = """
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {name: mine}
spec: {source: {volume: {path: weights}}}
"""


def test_a_model_of_a_hub_is_named_after_its_repository() -> None:
    manifest = hub_manifest("Salesforce/blip-image-captioning-base", "main", None, "")
    assert manifest["metadata"]["name"] == "blip-image-captioning-base"
    assert manifest["spec"] == {
        "source": {"huggingFace": {"repo": "Salesforce/blip-image-captioning-base"}}
    }


@given(
    st.from_regex(r"[A-Za-z0-9][\w.-]{0,90}", fullmatch=True, alphabet=st.characters(codec="ascii"))
)
def test_every_repository_gives_a_valid_manifest(repo: str) -> None:
    parse_manifest(hub_manifest(f"owner/{repo}", "v1", None, "what?"))


def test_name_revision_and_prompt_are_written_down() -> None:
    manifest = hub_manifest("a/b", "1234", "mine", "what?")
    assert manifest["metadata"]["name"] == "mine"
    assert manifest["spec"]["source"]["huggingFace"]["revision"] == "1234"
    assert manifest["spec"]["generation"]["prompt"] == "what?"


def test_a_relative_volume_starts_at_the_manifests_folder(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(MODEL)
    [manifest] = read(str(tmp_path / "model.yaml"))
    assert manifest["spec"]["source"]["volume"]["path"] == str(tmp_path / "weights")


def test_a_folder_gives_all_its_manifests_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "model.yaml").write_text(f"{MODEL}---\n{MODEL.replace('mine', 'other')}")
    (tmp_path / "values.yaml").write_text("replicas: 2")
    (tmp_path / ".managed.yaml").write_text(MODEL)
    assert [m["metadata"]["name"] for m in read(str(tmp_path))] == ["mine", "other"]


def test_a_wrong_field_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(MODEL.replace("spec: {", "spec: {beams: 3, "))
    with pytest.raises(Trouble, match=r"model\.yaml: spec\.beams: unknown field") as caught:
        list(read(str(tmp_path / "model.yaml")))
    assert caught.value.code is Exit.USAGE


def test_what_is_no_yaml_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text("a: [")
    with pytest.raises(Trouble, match="not readable as YAML"):
        list(read(str(tmp_path / "model.yaml")))


def hub_answer(**sizes: int) -> dict[str, Any]:
    names = {name.replace("__", "/").replace("_", "."): size for name, size in sizes.items()}
    return {"siblings": [{"rfilename": n, "size": s} for n, s in names.items()],
            "cardData": {"license": "mit"}}  # fmt: skip


def test_the_size_counts_safetensors_and_not_the_same_weights_again() -> None:
    known = facts(hub_answer(model_safetensors=100, pytorch_bin=110, tf_h5=120, config_json=1))
    assert known == RepoFacts(101, safetensors=True, license="mit")


def test_without_safetensors_the_pickles_count_and_are_warned_of() -> None:
    known = facts(hub_answer(pytorch_bin=2_000_000_000, onnx__model_bin=7))
    assert known.size_bytes == 2_000_000_000
    assert "allowPickle" in size_hint(known)


def test_an_unreachable_hub_is_no_error() -> None:
    assert "cannot be reached from here" in size_hint(None)
    assert "about 1 GB, unless it has it" in size_hint(RepoFacts(10**9, True, None))
