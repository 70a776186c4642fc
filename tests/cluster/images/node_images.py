"""Which images the node tests need, and building them: in seconds once the large layers exist."""

import hashlib
import shutil
import sys
import time
from functools import cache
from pathlib import Path

from tests.cluster.clusters import build, program
from tests.cluster.images.builder import Builder, BuildFailed, Built, Recipe
from tests.cluster.images.debian import PYTHON, RABBITMQ_SERVER, root_file_system
from tests.cluster.images.node_store import NodeStore
from tests.cluster.images.places import (
    COLD_GB,
    HERE,
    ROOT,
    WARM_GB,
    Places,
    held_places,
    need_room,
)

WORKER = "captionfleet/worker:test"
SERVER = "captionfleet/captionfleet:test"
RABBITMQ = "rabbitmq:test"
PROMETHEUS = "prometheus:test"

_PROGRAMS = ("prometheus", "prometheus-config-reloader")


@cache
def build_all() -> Path:
    """Build what changed, once per process. Returns the folder for a node: see `seed`."""
    for name in _PROGRAMS:
        build(name)
    with held_places() as places:
        need_room(places, WARM_GB if places.node.exists() else COLD_GB)
        try:
            _build_in(places)
        except BuildFailed as error:
            raise BuildFailed(
                f"{error}\nIf its store is damaged, remove {places.folder} to start anew"
            ) from error
        return places.node


def _build_in(places: Places) -> None:
    builder = Builder(places)
    recipes = _recipes(places)
    built = [_timed(recipe, builder) for recipe in recipes]
    with NodeStore(places.node, places.work) as store:
        store.take(built[1:])
    builder.keep_only(recipes)
    used = {recipe.context for recipe in recipes}
    for root in set(places.roots.iterdir()) - used:
        shutil.rmtree(root)


def _recipes(places: Places) -> list[Recipe]:
    """The base comes first: two of the others begin with it."""
    base = _of_debian(places, "captionfleet-test/python:test", PYTHON)
    ours = {"BASE": base.stored}
    return [
        base,
        Recipe(WORKER, ROOT / "Dockerfile.worker", ROOT, ours),
        Recipe(SERVER, ROOT / "Dockerfile", ROOT, ours),
        _of_debian(places, RABBITMQ, RABBITMQ_SERVER),
        _prometheus(places),
    ]


def _of_debian(places: Places, name: str, packages: tuple[str, ...]) -> Recipe:
    context = root_file_system(places.roots, packages).parent
    file = HERE / f"{name.partition(':')[0].rpartition('/')[2]}.Containerfile"
    return Recipe(name, file, context, key=_key(file.read_text(), context.name))


def _prometheus(places: Places) -> Recipe:
    """Prometheus and its reloader, from where they were built."""
    context = places.work / "prometheus"
    context.mkdir()
    programs = [program(name) for name in _PROGRAMS]
    for each in programs:
        (context / each.name).hardlink_to(each)
    file = HERE / "prometheus.Containerfile"
    key = _key(file.read_text(), *(each.parent.name for each in programs))
    return Recipe(PROMETHEUS, file, context, key=key)


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _timed(recipe: Recipe, builder: Builder) -> Built:
    began = time.monotonic()
    built = builder.build(recipe)
    print(f"images: {recipe.name} in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return built
