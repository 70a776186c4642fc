"""The GPU's benchmark takes its whole way on a CPU too, with tiny models: it is ready for one."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from benchmarks.gpu.checkpoints import MAKERS
from tests.conftest import ROOT

pytestmark = pytest.mark.services


def run(*arguments: str) -> list[dict[str, Any]]:
    # A number of threads for all of them would not reach the naive side.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_gpu", *arguments],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env=kept,
    )  # fmt: skip
    return [json.loads(line) for line in told.stdout.splitlines()]


# A dozen processes import torch, one after the other: busy machines take minutes for it.
@pytest.mark.timeout(600)
def test_its_smoke_run_captions_the_same_with_every_shape_on_all_sides() -> None:
    lines = run("--smoke", "--rounds", "1", "--pictures", "4")
    assert [line["model"] for line in lines] == list(MAKERS)
    for line in lines:
        assert line["ran"] and line["smoke"]
        assert line["against_plain"]["captions_that_differ"] == 0
        assert line["against_naive"]["captions_that_differ"] == 0
        assert line["learned_batch"] in line["batches"]
