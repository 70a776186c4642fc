"""The worker's benchmark with few pictures and the tiny model: its sides are equal and told."""

import json
import subprocess
import sys
from typing import Any

import pytest
from tests.conftest import ROOT

pytestmark = pytest.mark.services


def run(*arguments: str) -> dict[str, dict[str, Any]]:
    """Its lines by metric."""
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_worker", "--model", "tiny", "--rounds", "1",
         *arguments],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    return {line["metric"]: line for line in lines}


@pytest.mark.timeout(600)
def test_photos_are_compared_with_the_plain_loop() -> None:
    [line] = run("--only", "m2", "--pictures", "4").values()
    assert line["ratio"] > 0
    assert line["seconds"][0].keys() == {"decoding", "model", "worker", "plain"}
    assert line["command"].endswith("--only m2 --model tiny --rounds 1 --pictures 4")


@pytest.mark.timeout(600)
def test_a_start_is_timed_from_the_assignment_to_the_first_caption() -> None:
    start, untested, digest, forked = run("--only", "m12").values()
    assert start["seconds"]["tested"] > digest["seconds"]["digest"] > 0
    assert untested["seconds"]["untested"] > 0
    assert forked["seconds"]["warm"] < forked["seconds"]["cold"]
