"""Where an engine finds its files, whole or not, and what is said when they lack."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import SHAPES
from tests.worker.engines import TRUTH, engine_of, normalized, order_for, shapes_spec

from captionfleet.resources.model import ModelSpec
from captionfleet_worker.engine.loading import revision_of
from captionfleet_worker.engine.weights import folder_digest, weight_files
from captionfleet_worker.engine_process import EngineProcess, LoadFailed, Shot

pytestmark = pytest.mark.services  # engines and programs are processes

BASIC = SHAPES / "models" / "shapes-basic"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a good model's folder, to be damaged."""
    return Path(shutil.copytree(BASIC, tmp_path / "model"))


def in_folder(folder: Path) -> dict[str, Any]:
    return {"source": {"volume": {"path": str(folder)}}}


async def refused(spec: dict[str, Any], place: Path) -> LoadFailed:
    """Why this order cannot be carried out."""
    with pytest.raises(LoadFailed) as failed:
        await EngineProcess.start(order_for(spec, place), lambda sentence: None)
    return failed.value


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    failed = await refused(in_folder(tmp_path / "none"), tmp_path)
    assert failed.reason == "SourceNotFound" and str(tmp_path / "none") in failed.message


async def test_a_folder_of_a_claim_is_loaded_from_where_it_is_mounted(tmp_path: Path) -> None:
    volume = {"claimName": "models", "path": str(BASIC)}
    spec = {"source": {"volume": volume}, "generation": {"maxNewTokens": 32}}
    async with engine_of(order_for(spec, tmp_path)) as engine:
        [answer] = await engine.run([Shot(normalized("shapes-01.png"), "")], {})
    assert answer.text == TRUTH["shapes-01.png"]["captions"]["plain"]


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json"])
async def test_a_missing_file_is_named(lost: str, folder: Path, tmp_path: Path) -> None:
    (folder / lost).unlink()
    failed = await refused(in_folder(folder), tmp_path)
    assert (failed.reason, failed.retriable) == ("MissingWeights", False)
    assert f"{folder} has no {lost}" in failed.message


async def test_a_missing_shard_is_named(folder: Path, tmp_path: Path) -> None:
    index = '{"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}'
    (folder / "model.safetensors.index.json").write_text(index)
    failed = await refused(in_folder(folder), tmp_path)
    assert failed.reason == "MissingWeights"
    assert "lacks model-00002-of-00002.safetensors" in failed.message


async def test_a_truncated_file_is_told(folder: Path, tmp_path: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    failed = await refused(in_folder(folder), tmp_path)
    assert failed.reason == "MissingWeights" and "model.safetensors" in failed.message


async def test_files_that_are_gone_since_they_were_fetched_are_worth_another_try(
    tmp_path: Path,
) -> None:
    order = dataclasses.replace(
        order_for({"source": {"huggingFace": {"repo": "toys/basic"}}}, tmp_path),
        files=tmp_path / "gone", commit="c",
    )  # fmt: skip
    with pytest.raises(LoadFailed, match="gone is gone: it is fetched again") as failed:
        await EngineProcess.start(order, lambda sentence: None)
    assert failed.value.retriable


def test_weights_are_chosen_by_name() -> None:
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
             "model.safetensors.index.json", "onnx/model.safetensors", "pytorch_model.bin",
             "consolidated.safetensors"]  # fmt: skip
    assert weight_files(names, True, "x") == names[:2]
    assert weight_files(["pytorch_model.bin", "training_args.bin"], True, "x") == [
        "pytorch_model.bin"
    ]


def test_a_folders_digest_follows_what_loading_reads(folder: Path) -> None:
    before = folder_digest(folder, False)
    (folder / "README.md").write_text("new words")
    assert folder_digest(folder, False) == before
    (folder / "config.json").write_text("{}")
    assert folder_digest(folder, False) != before


def test_a_revision_follows_everything_a_caption_depends_on() -> None:
    spec = ModelSpec.model_validate(shapes_spec("shapes-basic"))
    other = ModelSpec.model_validate(shapes_spec("shapes-basic") | {"loader": {"dtype": "float16"}})
    tagged = ModelSpec.model_validate(
        shapes_spec("shapes-basic") | {"pipelineTag": "image-to-text"}
    )
    beams = ModelSpec.model_validate(shapes_spec("shapes-basic") | {"generation": {"numBeams": 2}})
    named = ModelSpec.model_validate(shapes_spec("shapes-basic") | {"displayName": "Basic"})
    made = [revision_of(s, "files", "") for s in (spec, other, beams, tagged)]
    made += [revision_of(spec, "other files", ""), revision_of(spec, "files", "code")]
    assert len(set(made)) == 6 and revision_of(named, "files", "") == made[0]
