"""The folder catalog: what it takes, what it refuses and says, and what it never touches."""

import asyncio
from pathlib import Path

import pytest
import yaml

from captionfleet.catalog import Conflict, FolderCatalog, NotFound
from captionfleet.resources import (
    InvalidManifest,
    ModelManifest,
    ModelPhase,
    ModelSpec,
    ModelStatus,
)
from captionfleet.resources.manifest import Metadata
from captionfleet.resources.model import Custom, CustomFile, Source, VolumeSource

MODEL = """
apiVersion: captionfleet.io/v1alpha1
kind: CaptionModel
metadata: {name: %s}
spec: {source: {volume: {path: weights}}}
"""
CODE = """
from captionfleet import CustomModel

class Mine(CustomModel):
    pass
"""


def catalog(folder: Path) -> FolderCatalog:
    return FolderCatalog(folder, folder / ".data")


def manifest(name: str) -> ModelManifest:
    source = Source(volume=VolumeSource(path="/weights"))
    return ModelManifest(metadata=Metadata(name=name), spec=ModelSpec(source=source))


def test_a_relative_path_starts_at_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "m.yaml").write_text(MODEL % "m")
    source = catalog(tmp_path).models()["m"].spec.source
    assert source and source.volume and source.volume.path == str(tmp_path / "sub" / "weights")


def test_the_second_of_two_manifests_of_one_name_is_refused_naming_both(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MODEL % "m")
    (tmp_path / "b.yaml").write_text(MODEL % "m")
    found = catalog(tmp_path)
    assert list(found.models()) == ["m"]
    (problem,) = found.problems()
    assert "b.yaml" in problem
    assert "already defined" in problem
    assert "a.yaml" in problem


def test_a_broken_file_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{ not yaml")
    (tmp_path / "b.yaml").write_text(MODEL % "m" + "---\n" + MODEL % "WRONG")
    found = catalog(tmp_path)
    assert list(found.models()) == ["m"]
    assert [Path(p.split(":")[0]).name for p in found.problems()] == ["a.yaml", "b.yaml"]


def test_yaml_of_other_people_is_none_of_our_business(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {}")
    assert catalog(tmp_path).problems() == []


def test_a_class_in_custom_infer_is_offered_as_a_model_named_after_its_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "custom_infer").mkdir()
    (tmp_path / "custom_infer" / "My_Model.py").write_text(CODE)
    custom = catalog(tmp_path).models()["my-model"].spec.custom
    assert custom and custom.entrypoint == "My_Model:Mine"


def test_bases_and_classes_in_folders_below_are_not_offered(tmp_path: Path) -> None:
    deeper = tmp_path / "custom_infer" / "deeper"
    deeper.mkdir(parents=True)
    (deeper / "other.py").write_text(CODE)
    (tmp_path / "custom_infer" / "mine.py").write_text(
        "class Base(CustomModel):\n    def load(self): pass\n"
        "class Mine(Base):\n    def infer(self, image): return 'x'\n"
        "class Note:\n    def infer(self, image): return 'x'\n"
    )
    [(name, model)] = catalog(tmp_path).models().items()
    assert name == "mine" and model.spec.custom
    assert model.spec.custom.entrypoint == "mine:Mine"


@pytest.mark.parametrize("name", ["owner__git-base.py", "größe.py", "2cats.py"])
def test_a_file_that_no_manifest_can_name_is_told_and_the_rest_is_offered(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "custom_infer").mkdir()
    for each in (name, "mine.py"):
        (tmp_path / "custom_infer" / each).write_text(CODE)
    found = catalog(tmp_path)
    assert list(found.models()) == ["mine"]
    (problem,) = found.problems()
    assert name in problem and "not beginning with a digit, such as my_model.py" in problem


def test_a_file_and_a_class_may_be_named_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "custom_infer").mkdir()
    (tmp_path / "custom_infer" / "Mood.py").write_text(CODE)
    found = catalog(tmp_path)
    assert (list(found.models()), found.problems()) == (["mood"], [])


def mine(**kwargs: str) -> ModelManifest:
    spec = ModelSpec(custom=Custom(entrypoint="mine:Mine", kwargs=kwargs))
    return ModelManifest(metadata=Metadata(name="mine"), spec=spec)


async def test_a_manifest_takes_the_place_of_a_class_that_is_offered(tmp_path: Path) -> None:
    (tmp_path / "custom_infer").mkdir()
    (tmp_path / "custom_infer" / "mine.py").write_text(CODE)
    found = catalog(tmp_path)
    await found.put(mine(style="terse"))
    assert found.models()["mine"].spec == catalog(tmp_path).models()["mine"].spec
    assert found.models()["mine"].spec == mine(style="terse").spec
    await found.delete("CaptionModel", "mine")
    assert found.models()["mine"].spec == mine().spec


async def test_a_manifest_that_was_saved_this_moment_wins_over_the_offer_too(
    tmp_path: Path,
) -> None:
    (tmp_path / "custom_infer").mkdir()
    (tmp_path / "custom_infer" / "mine.py").write_text(CODE)
    found = catalog(tmp_path)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine(style="terse").as_manifest()))
    await found.put(mine(style="terse"))
    labeled = Metadata(name="mine", labels={"team": "birds"})
    relabeled = mine(style="terse").model_copy(update={"metadata": labeled})
    for other in (mine(style="wordy"), relabeled):
        with pytest.raises(Conflict, match=r"mine\.yaml"):
            await found.put(other)
    assert not (tmp_path / "managed").exists()


async def test_put_writes_to_managed_and_delete_removes_it(tmp_path: Path) -> None:
    found = catalog(tmp_path)
    await found.put(manifest("m"))
    assert (tmp_path / "managed" / "CaptionModel-m.yaml").exists()
    assert "m" in catalog(tmp_path).models()
    await found.delete("CaptionModel", "m")
    assert found.models() == {}
    with pytest.raises(NotFound):
        await found.delete("CaptionModel", "m")


@pytest.mark.parametrize("dry_run", [True, False])
async def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, dry_run: bool) -> None:
    """Short lines that YAML escapes take more than twice their size."""
    files = [CustomFile(path=f"m{number}.py", content="#\u4f60\n" * 20_000) for number in range(5)]
    large = ModelSpec(custom=Custom(entrypoint="m0:Mine", files=files))
    found = catalog(tmp_path)
    with pytest.raises(InvalidManifest, match="CaptionModel m is larger than 1 MiB as YAML"):
        await found.put(ModelManifest(metadata=Metadata(name="m"), spec=large), dry_run=dry_run)
    assert not (tmp_path / "managed").exists()


async def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    await catalog(tmp_path).put(manifest("m"), dry_run=True)
    assert not (tmp_path / "managed").exists()


async def test_a_file_that_a_person_wrote_is_never_changed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MODEL % "m")
    found = catalog(tmp_path)
    with pytest.raises(Conflict, match=r"a\.yaml"):
        await found.put(manifest("m"))
    with pytest.raises(Conflict, match=r"a\.yaml"):
        await found.delete("CaptionModel", "m")


async def test_a_status_is_read_back_by_another_program(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MODEL % "m")
    status = ModelStatus(phase=ModelPhase.READY, message="ready on cpu-1")
    await catalog(tmp_path).write_status("CaptionModel", "m", status)
    assert catalog(tmp_path).models()["m"].status == status


async def test_watch_tells_of_a_new_manifest(tmp_path: Path) -> None:
    found = catalog(tmp_path)
    changes = found.watch()
    await anext(changes)
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.to_thread((tmp_path / "a.yaml").write_text, MODEL % "m")
    await asyncio.wait_for(waiting, 30)
    assert list(found.models()) == ["m"]
    await changes.aclose()  # type: ignore[attr-defined]


def test_the_generation_changes_with_the_spec_and_survives_a_restart(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MODEL % "m")
    found = catalog(tmp_path)
    first = found.models()["m"].metadata.generation
    assert catalog(tmp_path).models()["m"].metadata.generation == first
    (tmp_path / "a.yaml").write_text((MODEL % "m").replace("path: weights", "path: other"))
    found.refresh()
    assert found.models()["m"].metadata.generation != first


def test_a_file_broken_while_it_is_edited_deletes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MODEL % "m")
    found = catalog(tmp_path)
    (tmp_path / "a.yaml").write_text("{ half saved")
    found.refresh()
    assert list(found.models()) == ["m"]
    assert len(found.problems()) == 1
    (tmp_path / "a.yaml").unlink()
    found.refresh()
    assert found.models() == {}


@pytest.mark.parametrize("metadata", ["blip", "[1]", "null"])
def test_metadata_of_a_wrong_kind_is_told_like_any_other_problem(
    tmp_path: Path, metadata: str
) -> None:
    text = f"apiVersion: captionfleet.io/v1alpha1\nkind: CaptionModel\nmetadata: {metadata}\n"
    (tmp_path / "a.yaml").write_text(text)
    assert "metadata" in " ".join(catalog(tmp_path).problems())


def test_a_json_link_that_leads_nowhere_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to(tmp_path / "nowhere")
    assert catalog(tmp_path).problems() == []
