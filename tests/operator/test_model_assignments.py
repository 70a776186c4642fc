"""Code goes to a worker once, and never makes a message larger than the broker takes."""

from typing import Any

import pytest
from tests.operator.fleets import copy, decide, model, pool, worker, world

from captionfleet.messages import ModelAssignment, Wanted
from captionfleet_operator.model_assignments import MOST_CODE, model_assignments
from captionfleet_operator.planner import ModelSeen, WorkerSeen

LARGE = "#" * 100_000
FAST = pool(hosting={"maxConcurrentLoads": 64})


def brought(name: str = "a", content: str = "class Mine: ...", files: int = 1) -> ModelSeen:
    named = [{"path": f"m{number}.py", "content": content} for number in range(files)]
    return model(name, custom={"entrypoint": "m0:Mine", "files": named}, source=None)


def told(there: WorkerSeen, *models: ModelSeen, demand: int = 1) -> dict[str, ModelAssignment]:
    """What the worker hears, if all the models have work."""
    wanted = {each.name: demand for each in models}
    seen = world(models=models, pools=[FAST], workers=[there], demand=wanted)
    return model_assignments(decide(seen), seen, there.id)


def code_in(assignment: ModelAssignment) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = assignment.spec["custom"]["files"]
    return files


def test_a_worker_without_a_copy_gets_the_code() -> None:
    heard = told(worker(), brought())["a"]
    assert heard.state == Wanted.LOADED and not heard.code_left_out
    assert [each["path"] for each in code_in(heard)] == ["m0.py"]


@pytest.mark.parametrize("state", ["loading", "ready", "failed"])
def test_a_worker_that_tells_of_its_copy_does_not_get_the_code_again(state: str) -> None:
    there = copy("a", state, fingerprint=brought().fingerprint)
    heard = told(worker("cpu-1", there), brought())["a"]
    assert heard.code_left_out and code_in(heard) == []


@pytest.mark.parametrize(("state", "fingerprint"), [("unloading", None), ("ready", "of before")])
def test_a_copy_that_leaves_or_is_of_other_code_proves_nothing(
    state: str, fingerprint: str | None
) -> None:
    there = copy("a", state, fingerprint=fingerprint or brought().fingerprint)
    assert code_in(told(worker("cpu-1", there), brought())["a"])


def test_a_model_that_is_only_at_hand_needs_no_code() -> None:
    heard = told(worker(), brought(), demand=0)["a"]
    assert heard.state == Wanted.CACHED and heard.code_left_out and code_in(heard) == []


def test_new_code_above_the_limit_comes_once_the_worker_has_begun_with_the_rest() -> None:
    models = [brought(f"m{number:02}", LARGE, files=10) for number in range(12)]
    first = told(worker(memory=64 * 10**9), *models)
    loaded = [name for name, each in first.items() if each.state == Wanted.LOADED]
    begun = [copy(n, "loading", fingerprint=brought(n, LARGE, 10).fingerprint) for n in loaded]
    later = told(worker("cpu-1", *begun, memory=64 * 10**9), *models)

    assert 3 < len(loaded) < 12
    assert sum(len(each.encode()) for each in first.values()) < 2 * MOST_CODE
    assert {name for name, each in later.items() if code_in(each)}.isdisjoint(loaded)
