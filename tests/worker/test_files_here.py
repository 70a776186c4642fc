"""Which models' files a worker says are on it."""

from pathlib import Path
from typing import Any

import pytest

from captionfleet_worker.fetching.cache import Repository, persons_cache
from captionfleet_worker.files_here import FilesHere

COMMIT = 40 * "a"
ON_HUB = {"source": {"huggingFace": {"repo": "owner/name"}}}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """One that was looked up, and of which nothing was fetched."""
    made = Repository(tmp_path, "owner/name")
    (made.folder / "refs").mkdir(parents=True)
    (made.folder / "refs" / "main").write_text(COMMIT)
    return made


def put(repository: Repository, *names: str, listed: list[str] | None = None) -> None:
    folder = repository.snapshot(COMMIT)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("{}")
    if listed is not None:
        (repository.folder / "trees").mkdir(exist_ok=True)
        files = ", ".join(f'"{name}": {{"size": 2}}' for name in listed)
        (repository.folder / "trees" / f"{COMMIT}.json").write_text(f'{{"files": {{{files}}}}}')


def here(spec: dict[str, Any], folder: Path, *, code: bool = False) -> bool:
    return FilesHere(folder).all_of("f1", spec, code)


def test_a_folders_files_are_here_if_it_is(tmp_path: Path) -> None:
    assert here({"source": {"volume": {"path": str(tmp_path)}}}, tmp_path)
    assert not here({"source": {"volume": {"path": str(tmp_path / "no")}}}, tmp_path)


def test_a_claims_files_are_here_where_the_operator_says_it_is_mounted(tmp_path: Path) -> None:
    volume = {"claimName": "models", "path": str(tmp_path)}
    assert here({"source": {"volume": volume}}, tmp_path)
    assert not here({"source": {"volume": volume | {"path": "/volumes/no/x"}}}, tmp_path)


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_hubs_files_are_here_once_all_came(revision: str, repository: Repository) -> None:
    spec = {"source": {"huggingFace": {"repo": "owner/name", "revision": revision}}}
    assert not here(spec, repository.cache)
    put(repository, "config.json")
    assert not here(spec, repository.cache), "a download that was cut has the small files first"
    put(repository, "model.safetensors")
    assert here(spec, repository.cache)


def test_what_the_repository_holds_says_what_all_is(repository: Repository) -> None:
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    put(repository, "config.json", shards[0], listed=["config.json", *shards, "README.md"])
    assert not here(ON_HUB, repository.cache)
    put(repository, shards[1])
    assert here(ON_HUB, repository.cache)


def test_a_file_that_lost_a_part_is_not_here(repository: Repository) -> None:
    both = ["config.json", "model.safetensors"]
    put(repository, *both, listed=both)
    assert here(ON_HUB, repository.cache)
    (repository.snapshot(COMMIT) / both[1]).write_text("{")
    assert not here(ON_HUB, repository.cache)


def test_own_code_may_read_every_file(repository: Repository) -> None:
    spec = ON_HUB | {"custom": {"entrypoint": "a:B"}}
    put(repository, "weights.pt", listed=["weights.pt", "words.bin"])
    assert not here(spec, repository.cache, code=True)
    put(repository, "words.bin")
    assert here(spec, repository.cache, code=True) and not here(spec, repository.cache)


def test_what_changed_is_seen_and_the_rest_is_not_read_again(repository: Repository) -> None:
    put(repository, "config.json", "model.safetensors")
    looks = FilesHere(repository.cache)
    assert looks.all_of("f1", ON_HUB, False)
    (repository.snapshot(COMMIT) / "model.safetensors").unlink()
    assert not looks.all_of("f1", ON_HUB, False)


def test_custom_code_is_here_if_its_class_was_found(tmp_path: Path) -> None:
    spec = {"custom": {"entrypoint": "a:B"}}
    assert here(spec, tmp_path, code=True) and not here(spec, tmp_path)


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b", "HOME": "/c"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/d", "HOME": "/c"}, "/d/huggingface/hub"),
        ({"HOME": "/c"}, "/c/.cache/huggingface/hub"),
    ],
)
def test_a_persons_cache_is_where_the_hubs_library_looks(
    environment: dict[str, str], folder: str
) -> None:
    assert persons_cache(environment) == Path(folder)
