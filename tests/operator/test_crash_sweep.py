"""The operator killed before its n-th write, for every n, ends where an undisturbed one ends."""

import asyncio
import signal

import pytest
from tests.conftest import eventually
from tests.operator.cluster_stage import Document, Stage

from captionfleet.ids import new_nonce

_AT_ONCE = 3
_MORE_THAN_IT_WRITES = 40


@pytest.mark.timeout(900)
async def test_every_crash_between_two_writes_ends_in_the_same_objects(stage: Stage) -> None:
    undisturbed = await ending_of(stage)
    died = await asyncio.gather(*(sweep(stage, first, undisturbed) for first in range(1, 4)))

    # Lease, a child of each kind and two statuses at least: the sweep was no walk in the park.
    assert sum(died) >= 9


async def sweep(stage: Stage, first: int, undisturbed: Document) -> int:
    """Die at write `first`, first + 3, ..., until the operator settles without dying."""
    for died, number in enumerate(range(first, _MORE_THAN_IT_WRITES, _AT_ONCE)):
        place = await another_place(stage)
        objects, killed = await ending_after_a_crash(place, number)
        assert objects == undisturbed, f"killed before write {number}"
        if not killed:
            return died
    raise AssertionError(f"it never settled within {_MORE_THAN_IT_WRITES} writes")


async def ending_of(stage: Stage) -> Document:
    describe(stage)
    stage.start()
    return await ending(stage)


async def ending_after_a_crash(stage: Stage, number: int) -> tuple[Document, bool]:
    describe(stage)
    first = stage.start(CAPTIONFLEET_FAULT_AT_WRITE=str(number))
    await eventually(lambda: first.poll() is not None or settled(stage), seconds=90)
    killed = first.poll() == -signal.SIGKILL
    if killed:
        stage.start()
    objects = await ending(stage)
    stage.clean_up()
    return objects, killed


def describe(stage: Stage) -> None:
    stage.model("a")
    stage.pool(autoscaling={"minReplicas": 2}, cache={"type": "PVC", "sizeLimit": "1Gi"})


def settled(stage: Stage) -> bool:
    return bool(
        len(stage.children()) == 6
        and stage.condition("capm", "a", "Ready") == ("False", "NotYetProven")
        and stage.status("capw", "cpu").get("desiredReplicas") == 2
    )


async def ending(stage: Stage) -> Document:
    """Every object of ours, and the words of both statuses, once they are settled."""
    await eventually(lambda: settled(stage), seconds=90)
    conditions = {
        kind: [
            (c["type"], c["status"], c["reason"]) for c in stage.status(kind, name)["conditions"]
        ]
        for kind, name in (("capm", "a"), ("capw", "cpu"))
    }
    objects = stage.children()
    for each in objects.values():
        each.pop("applied")  # speaks of the owner's uid, which no two namespaces share
    return {"children": objects, **conditions}


async def another_place(stage: Stage) -> Stage:
    """The same fleet's stage in a namespace of its own."""
    namespace = f"sweep-{new_nonce()}".lower()
    stage.cluster.kubectl("create", "namespace", namespace)
    folder = stage.folder / namespace
    folder.mkdir()
    return Stage(folder, stage.cluster, namespace, stage.url, stage.names, stage.ear, stage.link)
