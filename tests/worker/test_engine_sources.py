"""Where weights come from: folders and hubs, whole or not, and what is said when they lack."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import SHAPES
from tests.fakehub import TOKEN, FakeHub
from tests.worker.engines import (
    TRUTH,
    custom_spec,
    engine_of,
    normalized,
    order_for,
    plain,
    shapes_spec,
)

from captionfleet.resources.model import HuggingFaceSource, ModelSpec
from captionfleet_worker.engine.hub import Hub
from captionfleet_worker.engine.loading import revision_of
from captionfleet_worker.engine.weights import folder_digest, weight_files
from captionfleet_worker.engine_process import EngineProcess, LoadFailed, Shot

pytestmark = pytest.mark.services  # engines and programs are processes

BASIC = SHAPES / "models" / "shapes-basic"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a good model's folder, to be damaged."""
    return Path(shutil.copytree(BASIC, tmp_path / "model"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that the engine takes for its own, and no token."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
    with FakeHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def in_folder(folder: Path) -> dict[str, Any]:
    return {"source": {"volume": {"path": str(folder)}}}


def on_hub(repo: str, **more: Any) -> dict[str, Any]:
    return {"source": {"huggingFace": {"repo": repo, **more}}}


def fetch(hub: FakeHub, repo: str, cache: Path, **source: Any) -> tuple[Path, str]:
    """(folder, commit) of a repository."""
    asked = HuggingFaceSource(repo=repo, endpoint=hub.url, **source)
    return Hub(asked, cache).fetch(allow_pickle=False, everything=False, progress=lambda said: None)


async def refused(spec: dict[str, Any], place: Path, *, offline: bool = False) -> LoadFailed:
    """Why this order cannot be carried out. The hub's cache is kept in `place`."""
    with pytest.raises(LoadFailed) as failed:
        order = order_for(spec, place, cache=place / "cache", offline=offline)
        await EngineProcess.start(order, lambda phase, sentence: None)
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


async def test_a_model_comes_from_a_hub_into_the_persons_own_cache(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    hub.add("toys/basic", BASIC)
    told: list[tuple[str, str]] = []
    engine = await EngineProcess.start(
        order_for(on_hub("toys/basic"), tmp_path), lambda *said: told.append(said)
    )
    [answer] = await engine.run([Shot(normalized("shapes-01.png"), "")], {})
    await engine.stop()
    assert answer.text == TRUTH["shapes-01.png"]["captions"]["plain"]
    assert (tmp_path / "home" / "hub" / "models--toys--basic").is_dir()
    assert ("downloading", "fetching the weights of toys/basic at main, 3 MB") in told


def test_only_what_loading_needs_is_fetched(hub: FakeHub, tmp_path: Path) -> None:
    files = {file.name: file.read_bytes() for file in BASIC.iterdir()}
    unneeded = {"pytorch_model.bin", "onnx/model.onnx", "tf_model.h5", "README.md"}
    hub.add("toys/basic", files | dict.fromkeys(unneeded, b"x"))
    folder, _ = fetch(hub, "toys/basic", tmp_path)
    assert hub.fetched() == {file.name for file in folder.iterdir()} == set(files)


def test_patterns_of_the_manifest_win(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("toys/basic", BASIC)
    folder, _ = fetch(
        hub, "toys/basic", tmp_path, allow_patterns=["*.json"], ignore_patterns=["training*"]
    )
    assert hub.fetched() == {f.name for f in BASIC.glob("*.json")} - {"training.json"}
    assert folder.is_dir()


@pytest.mark.parametrize("revision", ["main", "commit"])
def test_a_cached_model_is_found_without_the_hub(
    revision: str, hub: FakeHub, tmp_path: Path
) -> None:
    repo = hub.add("toys/basic", BASIC)
    first = fetch(hub, "toys/basic", tmp_path)
    hub.stop()
    asked = repo.commit if revision == "commit" else revision
    assert fetch(hub, "toys/basic", tmp_path, revision=asked) == first
    assert first[1] == repo.commit


def test_a_broken_download_is_resumed(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("toys/basic", BASIC)
    hub.breaks = 2
    folder, _ = fetch(hub, "toys/basic", tmp_path)
    assert (folder / "model.safetensors").read_bytes() == (BASIC / "model.safetensors").read_bytes()


def test_a_cache_that_cannot_be_written_is_told(hub: FakeHub) -> None:
    hub.add("toys/basic", BASIC)
    with pytest.raises(LoadFailed, match="cannot be stored in /proc/none") as failed:
        fetch(hub, "toys/basic", Path("/proc/none"))
    assert failed.value.retriable


def test_a_half_fetched_model_is_not_taken_for_a_whole_one(hub: FakeHub, tmp_path: Path) -> None:
    hub.add("toys/basic", BASIC)
    folder, _ = fetch(hub, "toys/basic", tmp_path)
    (folder / "model.safetensors").resolve().unlink()
    (folder / "model.safetensors").unlink()
    hub.stop()
    with pytest.raises(LoadFailed, match="not complete in the cache") as failed:
        fetch(hub, "toys/basic", tmp_path)
    assert (failed.value.reason, failed.value.retriable) == ("HubUnreachable", True)


@pytest.mark.parametrize(
    ("asked", "reason", "told"),
    [
        (on_hub("toys/none"), "SourceNotFound", "no repository toys/none"),
        (on_hub("toys/basic", revision="v9"), "SourceNotFound", "no revision v9"),
        (on_hub("toys/gated"), "GatedRepo", "accept its license at"),
        (on_hub("toys/pickle"), "PickleRefused", "spec.loader.allowPickle"),
        (on_hub("toys/empty"), "MissingWeights", "toys/empty at main has no model.safetensors"),
    ],
)
async def test_what_a_hub_refuses_is_told_with_the_remedy(
    asked: dict[str, Any], reason: str, told: str, hub: FakeHub, tmp_path: Path
) -> None:
    hub.add("toys/basic", BASIC)
    hub.add("toys/gated", BASIC, gated=True)
    hub.add("toys/pickle", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    hub.add("toys/empty", {"config.json": b"{}"})
    failed = await refused(asked, tmp_path)
    assert failed.reason == reason and told in failed.message and not failed.retriable
    assert not {name for name in hub.fetched() if name.endswith((".bin", ".safetensors"))}


async def test_an_unreachable_hub_is_worth_another_try(hub: FakeHub, tmp_path: Path) -> None:
    hub.stop()
    failed = await refused(on_hub("toys/basic"), tmp_path)
    assert (failed.reason, failed.retriable) == ("HubUnreachable", True)
    assert hub.url in failed.message


async def test_an_offline_worker_loads_what_is_cached_and_nothing_else(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.add("toys/basic", BASIC)
    cache = tmp_path / "cache"
    async with engine_of(order_for(on_hub("toys/basic"), tmp_path, cache=cache)) as online:
        revision = online.loaded.revision
    asked = len(hub.asked)
    offline = order_for(on_hub("toys/basic"), tmp_path, cache=cache, offline=True)
    async with engine_of(offline) as engine:
        [answer] = await engine.run([Shot(normalized("shapes-01.png"), "")], {})
        assert engine.loaded.revision == revision
    assert answer.text == TRUTH["shapes-01.png"]["captions"]["plain"]
    failed = await refused(on_hub("toys/other"), tmp_path, offline=True)
    assert (failed.reason, failed.retriable) == ("Offline", False)
    assert f"toys/other at main is not complete in {cache} (nothing of" in failed.message
    assert "spec.hub.offline of the pool (CAPTIONFLEET_OFFLINE)" in failed.message
    assert len(hub.asked) == asked, "nobody asked the hub, though it is there"


def test_offline_a_half_fetched_model_is_refused_by_what_it_lacks(
    hub: FakeHub, tmp_path: Path
) -> None:
    repo = hub.add("toys/basic", BASIC)
    folder, _ = fetch(hub, "toys/basic", tmp_path)
    (folder / "model.safetensors").unlink()
    hub.stop()
    for revision in ("main", repo.commit):
        source = HuggingFaceSource(repo="toys/basic", endpoint=hub.url, revision=revision)
        with pytest.raises(LoadFailed, match=r"it lacks model\.safetensors") as failed:
            Hub(source, tmp_path, offline=True).fetch(False, False, lambda said: None)
        assert failed.value.reason == "Offline"


async def test_a_gated_model_opens_to_the_workers_token(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = hub.add("toys/gated", BASIC, gated=True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    code = (
        "class Own:\n    def load(self): pass\n    def infer(self, i): return self.weights.name\n"
    )
    spec = custom_spec(tmp_path, code) | on_hub("toys/gated")
    async with engine_of(order_for(spec, tmp_path, cache=tmp_path / "cache")) as engine:
        [answer] = await engine.run([Shot(plain(), "")], {})
    assert answer.text == repo.commit


async def test_the_token_never_goes_to_an_address_that_a_manifest_names(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("toys/gated", BASIC, gated=True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    failed = await refused(on_hub("toys/gated", endpoint=hub.url), tmp_path)
    assert failed.reason == "GatedRepo" and hub.asked and not hub.tokens_seen


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
