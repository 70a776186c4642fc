"""Code that a repository brings: it runs where a manifest trusts one commit, and nowhere else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import SHAPES
from tests.fakehub import FakeHub, HubRepo
from tests.worker.engines import TRUTH, engine_of, normalized, order_for

from captionfleet.resources.model import ModelSpec
from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.engine.remote_code import check_all_here, check_pinned, own_captioner
from captionfleet_worker.engine_process import Shot

BLIP = SHAPES / "models" / "shapes-blip"
CONFIGURATION = """
from transformers import BlipConfig


class MineConfig(BlipConfig):
    model_type = "mine"
"""
MODELING = """
from transformers import BlipForConditionalGeneration

from .configuration_mine import MineConfig


class MineForCaptioning(BlipForConditionalGeneration):
    config_class = MineConfig
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with FakeHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def mine(hub: FakeHub) -> HubRepo:
    return mine_at(hub)


def mine_at(hub: FakeHub) -> HubRepo:
    """A captioner that transformers knows nothing of, at toys/mine."""
    files = {file.name: file.read_bytes() for file in BLIP.iterdir()}
    config = json.loads(files["config.json"])
    config |= {"model_type": "mine", "architectures": ["MineForCaptioning"]}
    config["auto_map"] = {
        "AutoConfig": "configuration_mine.MineConfig",
        "AutoModelForImageTextToText": "modeling_mine.MineForCaptioning",
    }
    files["config.json"] = json.dumps(config).encode()
    files |= {
        "configuration_mine.py": CONFIGURATION.encode(),
        "modeling_mine.py": MODELING.encode(),
    }
    return hub.add("toys/mine", files)


def spec_of(revision: str, **more: Any) -> dict[str, Any]:
    return {
        "source": {"huggingFace": {"repo": "toys/mine", "revision": revision}},
        "generation": {"maxNewTokens": 32},
        **more,
    }


TRUSTED = {"loader": {"trustRemoteCode": True}}


async def refused(spec: dict[str, Any], place: Path) -> LoadFailed:
    with pytest.raises(LoadFailed) as failed:
        order = order_for(spec, place, cache=place / "cache")
        async with engine_of(order):
            pass
    return failed.value


@pytest.mark.services
async def test_trusted_code_of_one_commit_captions_and_leaves_nothing_behind(
    hub: FakeHub, mine: HubRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("HF_HOME", raising=False)
    spec = spec_of(mine.commit, pipelineTag="image-to-text", **TRUSTED)
    async with engine_of(order_for(spec, tmp_path, cache=tmp_path / "cache")) as engine:
        [answer] = await engine.run([Shot(normalized("shapes-01.png"), "")], {})
        [room] = (tmp_path / "rooms").iterdir()
        assert list((room / "modules").rglob("modeling_mine.py"))
    assert answer.text in TRUTH["shapes-01.png"]["captions"].values()
    assert {"configuration_mine.py", "modeling_mine.py"} <= hub.fetched()
    assert not list(home.rglob("*.py"))
    assert list((tmp_path / "rooms").iterdir()) == []


@pytest.mark.services
async def test_without_trust_no_code_is_even_fetched(
    hub: FakeHub, mine: HubRepo, tmp_path: Path
) -> None:
    failed = await refused(spec_of(mine.commit), tmp_path)
    assert failed.reason == "UnsupportedModel"
    assert "pin spec.source.huggingFace.revision to a commit" in failed.message
    assert "spec.loader.trustRemoteCode" in failed.message
    assert not {name for name in hub.fetched() if name.endswith(".py")}


@pytest.mark.services
async def test_trusted_code_of_an_unknown_type_is_asked_as_the_manifest_says(
    mine: HubRepo, tmp_path: Path
) -> None:
    failed = await refused(spec_of(mine.commit, **TRUSTED), tmp_path)
    assert failed.reason == "UnsupportedModel"
    assert "set spec.pipelineTag to image-to-text" in failed.message


@pytest.mark.parametrize(
    "source",
    [
        {"huggingFace": {"repo": "toys/mine"}},
        {"huggingFace": {"repo": "toys/mine", "revision": "v1"}},
        {"huggingFace": {"repo": "toys/mine", "revision": "A" * 40}},
        {"volume": {"path": "/models/mine"}},
    ],
)
def test_code_that_may_change_is_never_trusted(source: dict[str, Any]) -> None:
    with pytest.raises(LoadFailed, match="commit of 40 hex digits") as failed:
        check_pinned(ModelSpec.model_validate({"source": source, **TRUSTED}))
    assert failed.value.reason == "InvalidSpec"
    check_pinned(ModelSpec.model_validate({"source": source}))


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("config.json", {"AutoModel": "other/repo--modeling.Model"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["other/repo--tokens.Slow", None]}),
        ("tokenizer_config.json", ["other/repo--tokens.Slow", None]),
    ],
)
def test_code_of_another_repository_is_refused(file: str, named: Any, tmp_path: Path) -> None:
    check_all_here(tmp_path)
    (tmp_path / "processor_config.json").write_text('{"auto_map": {"AutoProcessor": "mine.Mine"}}')
    check_all_here(tmp_path)
    (tmp_path / file).write_text(json.dumps({"auto_map": named}))
    with pytest.raises(LoadFailed, match="code from another repository") as failed:
        check_all_here(tmp_path)
    assert file in failed.value.message and "other/repo" in failed.value.message


def test_the_most_telling_class_of_a_checkpoints_code_is_taken() -> None:
    both = {"auto_map": {"AutoModelForCausalLM": "a.B", "AutoModelForImageTextToText": "a.C"}}
    assert own_captioner(both) == "AutoModelForImageTextToText"
    assert own_captioner({"auto_map": {"AutoConfig": "a.B"}}) is None
    assert own_captioner({}) is None
