"""The statuses a plan carries: phases, conditions with steady times, history that survives."""

from typing import Any

import pytest
from tests.operator.fleets import GB, START, copy, decide, model, pool, worker, world

from captionfleet.messages import Copy, Download, FilesState, Wanted
from captionfleet.resources import ModelStatus
from captionfleet.resources.model_status import DownloadStatus
from captionfleet_operator.planner import Memory, ModelSeen, plan


def status(*copies: Copy, seen: ModelSeen | None = None, total: int = 0) -> ModelStatus:
    one = world(
        models=[seen or model("a")],
        pools=[pool()],
        workers=[worker("cpu-1", *copies)],
        demand={"a": total} if total else {},
    )
    return decide(one).model_statuses["a"]


def conditions(of: ModelStatus) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in of.conditions}


@pytest.mark.parametrize(
    ("copies", "total", "phase"),
    [
        ([], 0, "Standby"),
        ([], 1, "Pending"),
        ([copy("a", "downloading")], 1, "Downloading"),
        ([copy("a", "loading")], 1, "Loading"),
        ([copy("a")], 1, "Ready"),
        ([copy("a", fingerprint="older")], 1, "Updating"),
        ([copy("a", "failed", reason="CodeError")], 1, "Failed"),
    ],
)
def test_the_phase_follows_the_copies(copies: list[Copy], total: int, phase: str) -> None:
    assert status(*copies, total=total).phase == phase


def test_a_download_is_told_in_rounded_numbers_by_the_worker_that_has_most() -> None:
    def at(done: int) -> Download:
        return Download(files_done=1, files_total=2, bytes_done=done, bytes_total=3_000_000_001,
                        bytes_per_second=34_987_654.3, seconds_left=51.7)  # fmt: skip

    seen = world(
        models=[model("a")], pools=[pool()], demand={"a": 1},
        workers=[worker("cpu-1", copy("a", "downloading", download=at(5))),
                 worker("cpu-2", copy("a", "downloading", download=at(1_500_999_999)))],
    )  # fmt: skip
    told = decide(seen).model_statuses["a"].download
    assert told == DownloadStatus(
        worker="cpu-2", files_done=1, files_total=2, bytes_done=1_500_000_000,
        bytes_total=3_000_000_001, percent=50, bytes_per_second=35_000_000, seconds_left=52,
    )  # fmt: skip
    assert status(copy("a")).download is None


def test_files_that_are_fetched_without_a_copy_are_told_too() -> None:
    files = FilesState(
        model="a", wanted=Wanted.CACHED, message="fetching",
        download=Download(files_done=0, files_total=2, bytes_done=10**6, bytes_total=10**7),
    )  # fmt: skip
    seen = world(models=[model("a")], pools=[pool()], workers=[worker("cpu-1", files=[files])])
    told = decide(seen).model_statuses["a"].download
    assert told and (told.worker, told.percent, told.bytes_per_second) == ("cpu-1", 10, None)


def test_a_suspended_model_is_suspended_and_not_ready() -> None:
    found = status(seen=model("a", suspend=True))

    assert found.phase == "Suspended"
    assert conditions(found)["Suspended"] == ("True", "Suspended")
    assert conditions(found)["Ready"] == ("False", "Suspended")


def test_a_model_is_not_ready_before_it_was_proven_once() -> None:
    assert conditions(status())["Ready"] == ("False", "NotYetProven")
    assert conditions(status(copy("a")))["Ready"] == ("True", "Loaded")


def test_a_proven_model_stays_ready_on_standby_until_its_spec_changes() -> None:
    ready = world(models=[model("a")], pools=[pool()], workers=[worker("cpu-1", copy("a"))])
    _, memory = plan(ready, Memory())
    changed = model("a", generation={"numBeams": 3})

    standby = decide(world(models=[model("a")], pools=[pool()], workers=[worker()]), memory)
    other = decide(world(models=[changed], pools=[pool()], workers=[worker()]), memory)

    assert conditions(standby.model_statuses["a"])["Ready"] == ("True", "Standby")
    assert conditions(other.model_statuses["a"])["Ready"] == ("False", "NotYetProven")


def test_what_was_proven_outlives_the_operator() -> None:
    ready = decide(
        world(models=[model("a")], pools=[pool()], workers=[worker("cpu-1", copy("a"))])
    ).model_statuses["a"]
    seen = model("a")
    manifest = seen.manifest.model_copy(update={"status": ready})

    found = status(seen=ModelSeen(manifest, seen.fingerprint))

    assert conditions(found)["Ready"] == ("True", "Standby")
    assert found.performance.memory_bytes == ready.performance.memory_bytes


def test_a_transition_time_moves_only_when_the_verdict_does() -> None:
    def at(seconds: float, *copies: Copy, memory: Memory) -> tuple[dict[str, str], Memory]:
        seen = world(
            models=[model("a")],
            pools=[pool()],
            workers=[worker("cpu-1", *copies)],
            now=START + seconds,
        )
        decided, after = plan(seen, memory)
        listed = decided.model_statuses["a"].conditions
        return {each.type: each.last_transition_time for each in listed}, after

    first, memory = at(0, memory=Memory())
    second, memory = at(60, copy("a"), memory=memory)
    third, memory = at(120, copy("a"), memory=memory)

    assert first["Accepted"] == second["Accepted"] == third["Accepted"]
    assert first["Loaded"] != second["Loaded"] == third["Loaded"]


def test_the_queue_tells_how_long_the_wait_is() -> None:
    queue = status(copy("a", rates={1: 0.5, 4: 2.0}, consuming=True), total=100).queue

    assert queue
    assert (queue.name, queue.total) == ("captionfleet.test.tasks.model.a", 100)
    assert (queue.wait_seconds, queue.wait, queue.consumers) == (50, "50s", 1)


def test_the_wait_is_left_open_while_the_speed_is_unknown() -> None:
    queue = status(total=100).queue

    assert queue
    assert (queue.wait_seconds, queue.wait) == (None, "")


def test_what_was_measured_is_rounded_so_that_noise_is_no_change() -> None:
    def measured(**facts: Any) -> ModelStatus:
        return status(copy("a", median_seconds=0.4321, load_seconds=12.3, **facts))

    one = measured(rates={1: 2.3456}, memory_bytes=GB)
    other = measured(rates={1: 2.3411}, memory_bytes=GB + 10**6)

    assert one == other
    assert one.performance.images_per_second == 2.3


def test_the_same_failure_seen_again_is_no_change() -> None:
    def failed(seconds: float, memory: Memory) -> tuple[ModelStatus, Memory]:
        broken = copy(
            "a", "failed", reason="CodeError", message="line 3",
            state_seconds=10 + seconds, retry_in_seconds=50 - seconds - 0.4,
        )  # fmt: skip
        seen = world(
            models=[model("a")],
            pools=[pool()],
            workers=[worker("cpu-1", broken)],
            demand={"a": 1},
            now=START + seconds,
        )
        decided, after = plan(seen, memory)
        return decided.model_statuses["a"], after

    first, memory = failed(0, Memory())
    second, _ = failed(2.7, memory)

    assert first.last_failure and first.last_failure.reason == "CodeError"
    assert first.last_failure == second.last_failure


def test_a_failure_is_remembered_until_a_copy_is_ready() -> None:
    failed = world(
        models=[model("a")],
        pools=[pool()],
        workers=[worker("cpu-1", copy("a", "failed", reason="CodeError", message="line 3"))],
        demand={"a": 1},
    )
    _, memory = plan(failed, Memory())
    gone = world(models=[model("a")], pools=[pool()], workers=[worker()])
    back = world(models=[model("a")], pools=[pool()], workers=[worker("cpu-1", copy("a"))])

    assert decide(gone, memory).model_statuses["a"].phase == "Failed"
    assert "line 3; tried again when pictures wait" in decide(gone, memory).waiting["a"]
    assert decide(back, memory).model_statuses["a"].last_failure is None


def test_a_pool_lists_every_worker_there_is() -> None:
    seen = world(
        models=[model("a")],
        pools=[pool()],
        workers=[
            worker("cpu-1", copy("a"), held=["t1", "t2"]),
            worker("cpu-2", draining=True),
            worker("theirs", own=False),
        ],
    )

    found = decide(seen).pool_statuses["cpu"]

    assert (found.replicas, found.ready_replicas, found.models_loaded) == (3, 2, 1)
    assert [(w.id, w.ready, w.external) for w in found.workers] == [
        ("cpu-1", True, False), ("cpu-2", False, False), ("theirs", True, True),
    ]  # fmt: skip
    assert found.workers[0].in_flight == 2


def test_nothing_is_written_before_the_operator_has_listened() -> None:
    decided = decide(world(models=[model("a")], pools=[pool()], settled=False))

    assert (decided.model_statuses, decided.pool_statuses) == ({}, {})


def test_how_a_model_is_asked_is_told_and_remembered() -> None:
    told = "asked nothing, writes up to 64 tokens"
    asked = world(models=[model("a")], pools=[pool()], workers=[worker("w", copy("a", asked=told))])
    decision, memory = plan(asked, Memory())
    assert decision.model_statuses["a"].asked == told
    later = decide(world(models=[model("a")], pools=[pool()], workers=[worker("w")]), memory)
    assert later.model_statuses["a"].asked == told
