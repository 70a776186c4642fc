"""What a fetcher does with a hub that refuses, cuts, lies or waits."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from tests.conftest import SHAPES
from tests.fakehub import TOKEN, FakeHub
from tests.worker.hubs import TOY, WEIGHTS, Errands, be_the_workers_own, whole

from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.fetching import download, listing, trouble
from captionfleet_worker.fetching.cache import OURS, Repository
from captionfleet_worker.fetching.order import CacheRules

pytestmark = pytest.mark.services  # a hub over HTTP, which takes seconds

BASIC = SHAPES / "models" / "shapes-basic"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The worker's own hub, without a token."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(download, "_PAUSES", (0.01, 0.01))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with FakeHub() as hub:
        be_the_workers_own(hub, monkeypatch)
        hub.add("toys/basic", TOY)
        yield hub


@pytest.fixture
def errands(hub: FakeHub, tmp_path: Path) -> Errands:
    return Errands(hub, tmp_path / "cache")


def refused(errands: Errands, repo: str = "toys/basic", **more: Any) -> LoadFailed:
    with pytest.raises(LoadFailed) as failed:
        errands.run(repo, **more)
    return failed.value


def test_only_what_loading_needs_is_fetched(hub: FakeHub, errands: Errands) -> None:
    files = {file.name: file.read_bytes() for file in BASIC.iterdir()}
    unneeded = {"pytorch_model.bin", "onnx/model.onnx", "tf_model.h5", "README.md", "own.py"}
    hub.add("toys/full", files | dict.fromkeys(unneeded, b"x"))
    fetched = errands.run("toys/full")
    assert hub.fetched() == set(files) and whole(fetched.folder, files)


def test_another_revision_is_fetched_beside_the_one_before_and_shares_what_is_the_same(
    hub: FakeHub, errands: Errands
) -> None:
    changed = TOY | {"config.json": b'{"model_type": "toy", "layers": 2}'}
    first = errands.run()
    second = hub.add("toys/basic", changed)
    assert errands.run(revision=first.commit) == first
    assert errands.run().commit == second.commit
    fetched = errands.run(revision=second.commit)
    assert whole(fetched.folder, changed) and whole(first.folder, TOY)
    names = [name for name, _ in hub.ranges]
    assert (names.count("model.safetensors"), names.count("config.json")) == (1, 2)


def test_trusted_code_is_needed_too(hub: FakeHub, errands: Errands) -> None:
    hub.add("toys/code", TOY | {"own.py": b"x"})
    assert (errands.run("toys/code", code=True).folder / "own.py").exists()


def test_patterns_of_the_manifest_win(hub: FakeHub, errands: Errands) -> None:
    hub.add("toys/full", BASIC)
    errands.run("toys/full", allow_patterns=["*.json"], ignore_patterns=["training*"])
    assert hub.fetched() == {f.name for f in BASIC.glob("*.json")} - {"training.json"}


@pytest.mark.parametrize("revision", ["../../../own", "/own", "refs/../../own"])
def test_a_revision_that_leads_out_of_the_cache_is_refused_before_anybody_is_asked(
    revision: str, hub: FakeHub, errands: Errands
) -> None:
    said = refused(errands, revision=revision)
    assert said.reason == "InvalidSpec" and "spec.source.huggingFace.revision" in said.message
    assert hub.asked == []


def test_a_hub_that_names_a_place_for_a_commit_writes_nowhere(
    hub: FakeHub, errands: Errands, tmp_path: Path
) -> None:
    vars(hub.repos["toys/basic"])["commit"] = "../../../own"
    said = refused(errands)
    assert said.reason == "WrongContent" and "'../../../own', which is none" in said.message
    assert not (tmp_path / "own").exists() and hub.fetched() == set()


@pytest.mark.parametrize("revision", ["main", "commit"])
def test_a_cached_model_is_found_without_the_hub(
    revision: str, hub: FakeHub, errands: Errands
) -> None:
    first = errands.run()
    hub.stop()
    assert errands.run(revision=first.commit if revision == "commit" else revision) == first


def test_the_cache_is_one_of_the_hubs_own_library(hub: FakeHub, errands: Errands) -> None:
    from huggingface_hub import snapshot_download

    ours = errands.run()
    hub.stop()
    theirs = snapshot_download("toys/basic", cache_dir=errands.cache, local_files_only=True)
    assert Path(theirs) == ours.folder


def test_what_the_hubs_own_library_fetched_is_used(hub: FakeHub, errands: Errands) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download("toys/basic", cache_dir=errands.cache, endpoint=hub.url)
    before = len(hub.ranges)
    assert whole(errands.run().folder, TOY)
    assert len(hub.ranges) == before


def test_a_cut_download_goes_on_where_it_was(hub: FakeHub, errands: Errands) -> None:
    hub.breaks = 3
    assert whole(errands.run(allow_patterns=["*.safetensors"]).folder, {
        "model.safetensors": WEIGHTS
    })  # fmt: skip
    assert hub.ranges == [("model.safetensors", start) for start in (0, 500_000, 750_000, 875_000)]
    assert hub.sent["model.safetensors"] == len(WEIGHTS), "no byte came twice"


def test_a_hub_that_ignores_the_range_is_heard_from_the_start(
    hub: FakeHub, errands: Errands
) -> None:
    hub.breaks, hub.knows_ranges = 1, False
    assert whole(errands.run().folder, TOY)


def test_a_file_that_never_comes_whole_is_told_and_its_part_kept(
    hub: FakeHub, errands: Errands
) -> None:
    hub.short = {"model.safetensors"}
    failed = refused(errands)
    assert (failed.reason, failed.retriable) == ("HubUnreachable", True)
    assert "model.safetensors of toys/basic stopped coming" in failed.message
    assert "at 500,000 of 1,000,000 bytes" in failed.message
    hub.short = set()
    assert whole(errands.run().folder, TOY)
    assert ("model.safetensors", 500_000) in hub.ranges
    assert hub.sent["model.safetensors"] == len(WEIGHTS), "no byte came twice"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_other_bytes_than_promised_are_fetched_anew(
    name: str, hub: FakeHub, errands: Errands
) -> None:
    hub.wrong[name] = 1
    assert whole(errands.run().folder, TOY)
    assert any(f"{name} came with the" in each for each in errands.told)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_other_bytes_than_promised_are_never_kept(
    name: str, hub: FakeHub, errands: Errands
) -> None:
    hub.wrong[name] = 2
    failed = refused(errands)
    assert (failed.reason, failed.retriable) == ("WrongContent", True)
    assert name in failed.message and "nothing of it was kept" in failed.message
    assert not list(errands.cache.glob(f"*/snapshots/*/{name}"))
    assert not [part for part in errands.cache.glob("*/blobs/*") if part.read_bytes()[:1] == b"\0"]


@pytest.mark.parametrize("status", [500, 503])
def test_a_hub_in_trouble_is_asked_again(status: int, hub: FakeHub, errands: Errands) -> None:
    hub.refusals = [status, status]
    assert whole(errands.run().folder, TOY)


def test_a_pause_that_the_hub_asks_for_is_made_and_told(hub: FakeHub, errands: Errands) -> None:
    hub.pauses = ["1"]
    before = time.monotonic()
    assert whole(errands.run().folder, TOY)
    assert time.monotonic() - before >= 1
    assert any("429" in each and "a pause of 1 s: going on at" in each for each in errands.told)


def test_a_pause_is_made_in_the_middle_too_but_not_for_ever(hub: FakeHub, errands: Errands) -> None:
    hub.refusals = [429, 429]
    assert whole(errands.run().folder, TOY)
    hub.add("toys/other", {"config.json": b"{}", "model.safetensors": b"other"})
    hub.refusals = [429] * 50
    failed = refused(errands, "toys/other")
    assert (failed.reason, failed.retriable) == ("HubBusy", True)


def test_a_pause_too_long_is_left_to_the_next_try(hub: FakeHub, errands: Errands) -> None:
    hub.pauses = ["3600"]
    failed = refused(errands)
    assert (failed.reason, failed.retriable) == ("HubBusy", True)
    assert "a pause of 3600 s" in failed.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 60),
        ({"RateLimit": '"api";r=0;t=55'}, 55),
        ({}, 10),
    ],
)
def test_a_pause_is_read_from_each_of_its_forms(headers: dict[str, str], seconds: float) -> None:
    now = 1445412480 - 60  # a minute before that date
    assert trouble.asked_pause(httpx2.Headers(headers), now) == seconds


def test_a_silent_connection_is_cut_and_resumed(hub: FakeHub, errands: Errands) -> None:
    hub.hold_at = 400_000
    assert whole(errands.run(stall_seconds=0.3).folder, TOY)
    starts = [start for name, start in hub.ranges if name == "model.safetensors"]
    assert starts == [0, 400_000, 800_000]


@pytest.mark.parametrize(
    ("repo", "source", "reason", "told"),
    [
        ("toys/none", {}, "SourceNotFound", "no repository toys/none"),
        ("toys/private", {}, "SourceNotFound", "or it is private"),
        ("toys/basic", {"revision": "v9"}, "SourceNotFound", "no revision v9"),
        ("toys/basic", {"revision": "0" * 40}, "SourceNotFound", "no revision 000"),
        ("toys/gated", {}, "GatedRepo", "accept its license at"),
        ("toys/pickle", {}, "PickleRefused", "spec.loader.allowPickle"),
        ("toys/empty", {}, "MissingWeights", "toys/empty at main has no model.safetensors"),
    ],
)
def test_what_a_hub_refuses_is_told_with_the_remedy(
    repo: str, source: dict[str, str], reason: str, told: str, hub: FakeHub, errands: Errands
) -> None:
    hub.add("toys/gated", TOY, gated=True)
    hub.add("toys/private", TOY, private=True)
    hub.add("toys/pickle", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    hub.add("toys/empty", {"config.json": b"{}"})
    failed = refused(errands, repo, **source)
    assert failed.reason == reason and told in failed.message and not failed.retriable
    assert not hub.sent, "nothing was fetched of it"


def test_a_token_of_another_account_is_told(
    hub: FakeHub, errands: Errands, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("toys/gated", TOY, gated=True)
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    failed = refused(errands, "toys/gated")
    assert failed.reason == "GatedRepo" and "hf_of_somebody_else" not in failed.message


def test_a_gated_repository_opens_to_the_token_which_stays_at_the_hub(
    hub: FakeHub, errands: Errands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.add("toys/gated", TOY, gated=True)
    with FakeHub(host="127.0.0.2") as store:
        store.add("toys/gated", TOY)
        hub.sends_to = store.url
        assert whole(errands.run("toys/gated").folder, TOY)
        assert hub.tokens_seen == {TOKEN}
        assert store.fetched() and not store.tokens_seen


def test_the_token_stays_at_the_hub_when_a_listing_goes_on_elsewhere(
    hub: FakeHub, errands: Errands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with FakeHub(host="127.0.0.2") as other:
        other.add("toys/basic", TOY)
        hub.continues_at = other.url
        assert whole(errands.run().folder, TOY)
        assert other.asked and not other.tokens_seen


def test_the_token_never_goes_to_an_address_that_a_manifest_names(
    hub: FakeHub, errands: Errands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with FakeHub() as other:
        other.add("toys/gated", TOY, gated=True)
        assert refused(errands, "toys/gated", endpoint=other.url).reason == "GatedRepo"
        assert other.asked and not other.tokens_seen


def test_an_unreachable_hub_is_worth_another_try(hub: FakeHub, errands: Errands) -> None:
    hub.stop()
    failed = refused(errands)
    assert (failed.reason, failed.retriable) == ("HubUnreachable", True)
    assert hub.url in failed.message


def test_a_cache_that_cannot_be_written_is_told(errands: Errands, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failed = refused(errands, rules=CacheRules(tmp_path / "file" / "cache"))
    assert f"cannot be stored in {tmp_path / 'file' / 'cache'}" in failed.message
    assert "Not a directory" in failed.message and failed.retriable


def test_a_whole_model_in_a_cache_that_takes_no_writes_is_found(
    hub: FakeHub, errands: Errands
) -> None:
    whole_one = errands.run(rules=CacheRules(errands.cache))
    (errands.cache / OURS).touch()  # as good as read-only, even for root
    assert errands.run() == whole_one


def test_a_file_outside_the_repository_is_not_written(hub: FakeHub, errands: Errands) -> None:
    hub.add("toys/evil", TOY | {"../../evil.json": b"{}"})
    failed = refused(errands, "toys/evil")
    assert failed.reason == "WrongContent" and "evil.json" in failed.message
    assert not list(errands.cache.rglob("evil.json"))


def test_a_half_fetched_model_is_not_taken_for_a_whole_one(
    hub: FakeHub, errands: Errands, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = SimpleNamespace(sleep=lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.utils._http.time", at_once)
    (errands.run().folder / "model.safetensors").resolve().unlink()
    hub.stop()
    failed = refused(errands)
    assert (failed.reason, failed.retriable) == ("HubUnreachable", True)
    assert "not complete in the cache" in failed.message


def test_a_file_that_lost_a_part_is_fetched_again(hub: FakeHub, errands: Errands) -> None:
    blob = (errands.run().folder / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-1])
    assert whole(errands.run().folder, TOY)
    assert hub.ranges[-1] == ("model.safetensors", 0)


def test_a_part_that_is_too_long_is_thrown_away(hub: FakeHub, errands: Errands) -> None:
    fetched = errands.run()
    repository = Repository(errands.cache, "toys/basic")
    key = (fetched.folder / "model.safetensors").resolve().name
    repository.remove()
    repository.partial(key).parent.mkdir(parents=True)
    repository.partial(key).write_bytes(WEIGHTS + b"more")
    assert whole(errands.run().folder, TOY)
    assert not repository.partial(key).exists()


def test_a_lost_file_alone_is_fetched_again(hub: FakeHub, errands: Errands) -> None:
    (errands.run().folder / "config.json").resolve().unlink()
    hub.ranges.clear()
    assert whole(errands.run().folder, TOY)
    assert hub.ranges == [("config.json", 0)]


@pytest.mark.parametrize("revision", ["main", "commit"])
def test_offline_what_lacks_is_named(revision: str, hub: FakeHub, errands: Errands) -> None:
    fetched = errands.run()
    (fetched.folder / "model.safetensors").unlink()
    asked = len(hub.asked)
    named = fetched.commit if revision == "commit" else revision
    failed = refused(errands, revision=named, offline=True)
    assert (failed.reason, failed.retriable) == ("Offline", False)
    assert "it lacks model.safetensors" in failed.message
    assert len(hub.asked) == asked, "nobody asked the hub, though it is there"


def test_offline_what_was_never_fetched_is_told(hub: FakeHub, errands: Errands) -> None:
    failed = refused(errands, "toys/other", offline=True)
    assert failed.reason == "Offline" and not hub.asked
    assert f"toys/other at main is not complete in {errands.cache} (nothing of" in failed.message
    assert "spec.hub.offline of the pool (CAPTIONFLEET_OFFLINE)" in failed.message


def test_a_cache_of_an_older_client_is_enough_offline(hub: FakeHub, errands: Errands) -> None:
    fetched = errands.run()
    for note in errands.cache.glob("*/trees/*"):
        note.unlink()
    assert errands.run(offline=True) == fetched


def test_equal_contents_under_two_names_are_fetched_once(hub: FakeHub, errands: Errands) -> None:
    twins = {"config.json": b"{}", "model.safetensors": WEIGHTS, "model-b.safetensors": WEIGHTS}
    hub.add("toys/twins", twins)
    assert whole(errands.run("toys/twins").folder, twins)
    assert hub.sent.total() == len(WEIGHTS) + 2


def test_a_files_key_is_the_name_that_the_library_gives_its_content() -> None:
    large = listing.File("a", 1, sha256="s" * 64, git_sha1="g" * 40)
    small = listing.File("a", 1, git_sha1="g" * 40)
    assert (large.key, small.key) == ("s" * 64, "g" * 40)
    assert len(listing.File("a", 1).key) == 64


def test_on_a_disk_without_links_files_stand_in_the_snapshot(
    hub: FakeHub, errands: Errands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(self: Path, target: str) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    fetched = errands.run()
    assert whole(fetched.folder, TOY) and not (fetched.folder / "config.json").is_symlink()
    assert not Repository(errands.cache, "toys/basic").partial("x").exists()
