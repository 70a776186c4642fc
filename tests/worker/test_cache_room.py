"""How full the cache may be, and which models leave it for others."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captionfleet.resources.model import HuggingFaceSource
from captionfleet_worker.downloads import cache_rules
from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.fetching.cache import OURS, Repository, repositories
from captionfleet_worker.fetching.eviction import Shelf, what_to_evict
from captionfleet_worker.fetching.order import CacheRules, FetchOrder
from captionfleet_worker.fetching.room import DiskFacts, disk_of, make_room, room
from captionfleet_worker.fetching.uses import Uses
from captionfleet_worker.settings import WorkerSettings

SIZE = 1_000_000
SHELVES = st.lists(
    st.builds(
        Shelf,
        name=st.text("abcdef", min_size=1, max_size=4),
        size=st.integers(0, 1000),
        used_at=st.integers(0, 50).map(float),
        in_use=st.booleans(),
        spared=st.booleans(),
    ),
    max_size=12,
    unique_by=lambda shelf: shelf.name,
)


@given(SHELVES, st.integers(0, 5000))
def test_what_is_in_use_never_leaves(shelves: list[Shelf], lacking: int) -> None:
    leaving = set(what_to_evict(shelves, lacking))
    assert not leaving & {shelf.name for shelf in shelves if shelf.in_use}


@given(SHELVES, st.integers(0, 5000))
def test_enough_leaves_or_nothing(shelves: list[Shelf], lacking: int) -> None:
    sizes = {shelf.name: shelf.size for shelf in shelves if not shelf.in_use}
    leaving = what_to_evict(shelves, lacking)
    if leaving:
        assert sum(sizes[name] for name in leaving) >= lacking > 0
    else:
        assert lacking == 0 or sum(sizes.values()) < lacking


@given(SHELVES, st.integers(1, 5000))
def test_nothing_leaves_in_vain(shelves: list[Shelf], lacking: int) -> None:
    sizes = {shelf.name: shelf.size for shelf in shelves}
    leaving = what_to_evict(shelves, lacking)
    total = sum(sizes[name] for name in leaving)
    assert all(total - sizes[name] < lacking for name in leaving)


def test_what_nobody_knows_leaves_first_then_what_was_used_least_recently() -> None:
    shelves = [
        Shelf("old", 10, used_at=1, in_use=False, spared=True),
        Shelf("young", 10, used_at=9, in_use=False, spared=True),
        Shelf("forgotten", 10, used_at=5, in_use=False),
    ]
    assert what_to_evict(shelves, 5) == ["forgotten"]
    assert what_to_evict(shelves, 15) == ["forgotten", "old"]


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (CacheRules(owned=True, watermark_percent=90), 200),  # 100 of 1000 stay free
        (CacheRules(owned=True, watermark_percent=90, limit_bytes=500), 50),  # 450 - 400
        (CacheRules(owned=True, watermark_percent=50), -200),
        (CacheRules(owned=False, watermark_percent=50), 300),  # a person's own: all that is free
    ],
)
def test_room_is_what_the_watermark_leaves(rules: CacheRules, left: int) -> None:
    assert room(DiskFacts(total=1000, free=300, cache=400), rules) == left


# A real cache, bounded so that two models fit.


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    for age, name in enumerate(("o/new", "o/middle", "o/old")):
        blobs = Repository(tmp_path, name).folder / "blobs"
        blobs.mkdir(parents=True)
        (blobs / "x").write_bytes(bytes(SIZE))
        before = time.time() - 1000 * age
        os.utime(blobs.parent, (before, before))
    return tmp_path


def names(cache: Path) -> set[str]:
    return {each.name for each in repositories(cache)}


def made_room(cache: Path, need: int = SIZE, **more: tuple[str, ...]) -> list[str]:
    """What is told while room is made. The cache may hold three and a half models."""
    rules = CacheRules(cache, owned=True, watermark_percent=100, limit_bytes=3_500_000)
    source = HuggingFaceSource(repo="o/wanted")
    told: list[str] = []
    make_room(FetchOrder(source=source, cache=rules, **more), cache, need, told.append)  # type: ignore[arg-type]
    return told


def test_where_there_is_room_everything_stays(cache: Path) -> None:
    assert made_room(cache, 400_000) == []
    assert len(names(cache)) == 3


def test_the_least_recently_used_leaves(cache: Path) -> None:
    assert made_room(cache) == ["removing o/old, which nobody uses, to make room"]
    assert names(cache) == {"o/new", "o/middle"}
    assert not list((cache / OURS / "leaving").iterdir())


def test_what_this_worker_wants_stays(cache: Path) -> None:
    made_room(cache, keep=("o/old",))
    assert names(cache) == {"o/new", "o/old"}


def test_what_another_worker_uses_stays(cache: Path) -> None:
    Uses(cache, "other").begin("o/old")
    made_room(cache)
    assert names(cache) == {"o/new", "o/old"}


def test_a_worker_that_was_killed_uses_nothing_for_long(cache: Path) -> None:
    Uses(cache, "other").begin("o/old")
    [mark] = cache.glob(f"{OURS}/uses/models--o--old/other")
    for path in (mark, mark.parent):
        os.utime(path, (time.time() - 3600,) * 2)
    made_room(cache)
    assert "o/old" not in names(cache)


def test_the_end_of_a_use_is_a_use(cache: Path) -> None:
    other = Uses(cache, "other")
    other.begin("o/old")
    other.settle(())
    made_room(cache)
    assert names(cache) == {"o/new", "o/old"}, "o/middle was used longer ago"


def test_marks_of_what_is_used_are_renewed(cache: Path) -> None:
    uses, other = Uses(cache, "w1"), Uses(cache, "w2")
    uses.begin("o/new")
    [mark] = cache.glob(f"{OURS}/uses/models--o--new/w1")
    os.utime(mark, (time.time() - 3600,) * 2)
    assert not other.used_by_others(Repository(cache, "o/new"))
    uses.settle(["o/new"])
    assert other.used_by_others(Repository(cache, "o/new"))
    assert not uses.used_by_others(Repository(cache, "o/new"))


def test_a_mark_that_was_lost_is_set_again(cache: Path) -> None:
    Uses(cache, "w1").settle(["o/new"])
    assert Uses(cache, "w2").used_by_others(Repository(cache, "o/new"))


def test_what_cannot_fit_is_refused_and_nothing_leaves(cache: Path) -> None:
    with pytest.raises(LoadFailed) as failed:
        made_room(cache, 3 * SIZE, keep=("o/new",))
    assert (failed.value.reason, failed.value.retriable) == ("DiskFull", True)
    said = failed.value.message
    assert said.startswith(
        f"o/wanted needs 3 MB, and {cache} has room for 0 MB below 100 % of 4 MB"
    )
    assert "1 MB of it in use" in said and "spec.cache.sizeLimit" in said
    assert "CAPTIONFLEET_CACHE_WATERMARK" in said and len(names(cache)) == 3


def test_of_a_persons_own_cache_nothing_ever_leaves(cache: Path) -> None:
    order = FetchOrder(source=HuggingFaceSource(repo="o/wanted"), cache=CacheRules())
    with pytest.raises(LoadFailed, match="name another folder in CAPTIONFLEET_CACHE"):
        make_room(order, cache, 2**62, lambda said: None)
    assert len(names(cache)) == 3


def test_a_setting_that_names_a_persons_cache_does_not_make_it_the_workers(tmp_path: Path) -> None:
    settings = WorkerSettings(cache=tmp_path / "a" / ".." / "b", cache_limit=5)
    own = cache_rules(settings, persons=tmp_path / "c")
    assert (own.folder, own.owned, own.limit_bytes) == (tmp_path / "b", True, 5)
    assert not cache_rules(settings, persons=tmp_path / "b").owned
    assert not cache_rules(WorkerSettings(), persons=tmp_path / "b").owned


def test_heartbeats_tell_what_the_downloads_take(cache: Path) -> None:
    disk = disk_of(
        CacheRules(cache, owned=True, limit_bytes=10 * SIZE, watermark_percent=100), cache
    )
    assert disk.cache_bytes == pytest.approx(3 * SIZE, rel=0.02)
    assert disk.room_bytes == pytest.approx(7 * SIZE, rel=0.02) and disk.free_bytes > 0
