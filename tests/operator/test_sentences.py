"""Every model and pool says in one sentence how things stand."""

import pytest
from tests.operator.fleets import copy, decide, model, pool, worker, world

from captionfleet.messages import Copy, Download
from captionfleet.resources import ModelStatus
from captionfleet.resources.model_status import PerformanceStatus
from captionfleet_operator.planner import Memory, OwnWorker, WorkerSeen


def sentence(*copies: Copy, memory: Memory | None = None, **facts: object) -> str:
    """What is said of a demanded model `a` whose copies are on cpu-1."""
    heard = worker("cpu-1", *copies, silent=1.0)
    seen = world(models=[model("a")], pools=[pool()], workers=[heard], demand={"a": 3})
    return decide(seen, memory).waiting["a"]


def test_a_ready_model_says_where_and_how_fast() -> None:
    assert sentence(copy("a", median_seconds=0.4321)) == "ready on cpu-1, 0.43 s per picture"


def test_a_loading_model_says_how_far_it_is() -> None:
    known = ModelStatus(performance=PerformanceStatus(load_seconds=30.2))

    assert sentence(copy("a", "loading", state_seconds=11)) == "loading on cpu-1, 12 s so far"
    assert (
        sentence(copy("a", "loading", state_seconds=11), memory=Memory(model_statuses={"a": known}))
        == "loading on cpu-1, 12 s of about 30 s"
    )


def test_a_downloading_model_repeats_its_worker() -> None:
    assert (
        sentence(copy("a", "downloading", message="1.2 of 3.4 GB"))
        == "downloading on cpu-1: 1.2 of 3.4 GB"
    )


def test_a_downloading_model_says_how_far_and_how_fast() -> None:
    half = Download(files_done=6, files_total=9, bytes_done=1_234_567_890, bytes_total=3 * 10**9,
                    bytes_per_second=34_900_000, seconds_left=50.4)  # fmt: skip

    assert sentence(copy("a", "downloading", message="fetching o/n at main", download=half)) == (
        "downloading on cpu-1: fetching o/n at main; 1.2 of 3.0 GB, 35 MB/s, about 50 s left"
    )


def test_a_failed_model_says_why_and_when_it_is_tried_again() -> None:
    failed = copy("a", "failed", reason="MissingWeights", message="no weights", retry_in_seconds=13)

    assert sentence(failed) == "failed on cpu-1: no weights; tried again in 12 s"


def test_a_model_that_was_just_placed_is_about_to_load() -> None:
    assert sentence() == "about to load on cpu-1"


def test_a_model_without_any_pool_says_what_to_do() -> None:
    seen = world(models=[model("a")], demand={"a": 1})

    assert decide(seen).waiting["a"] == "there is no pool of workers: apply a CaptionWorkerPool"


def test_a_suspended_pool_is_named() -> None:
    seen = world(models=[model("a")], pools=[pool(suspend=True)], demand={"a": 1})

    assert decide(seen).waiting["a"] == "no pool takes this model: cpu is suspended"


def test_a_starting_worker_is_named_with_its_age() -> None:
    starting = pool(own=[OwnWorker("cpu-1", age_seconds=3.2)])
    seen = world(models=[model("a")], pools=[starting], demand={"a": 1})

    assert decide(seen).waiting["a"] == "starting a worker in pool cpu (3 s)"


def test_a_worker_in_back_off_is_named_with_its_end() -> None:
    trouble = "worker cpu-1 ended with exit status 1; it is started again in 8 s"
    seen = world(models=[model("a")], pools=[pool(trouble=trouble)], demand={"a": 1})

    assert decide(seen).waiting["a"] == trouble


def test_a_queue_that_cannot_be_declared_is_told() -> None:
    seen = model("a")
    broken = type(seen)(seen.manifest, seen.fingerprint, queue_trouble="PRECONDITION_FAILED")

    decided = decide(world(models=[broken], pools=[pool()], workers=[worker()]))

    assert decided.waiting["a"] == "its queue could not be declared: PRECONDITION_FAILED"
    conditions = {each.type: each.status for each in decided.model_statuses["a"].conditions}
    assert conditions["QueueReady"] == "False"


@pytest.mark.parametrize(
    ("workers", "own", "total", "expected"),
    [
        ([worker("cpu-1")], [], 0, "1 worker"),
        ([], [OwnWorker("cpu-1", 2.0)], 0, "0 workers; 1 starting (2 s)"),
        (
            [worker("cpu-1", copy("a", rates={1: 2.0})), worker("cpu-2", draining=True)],
            [],
            40,
            "1 worker; 1 finishing what they hold and leaving; 20 s of work for each",
        ),
    ],
)
def test_a_pool_says_what_it_is_doing(
    workers: list[WorkerSeen], own: list[OwnWorker], total: int, expected: str
) -> None:
    seen = world(models=[model("a")], pools=[pool(own=own)], workers=workers, demand={"a": total})

    assert decide(seen).pool_sentences["cpu"] == expected
