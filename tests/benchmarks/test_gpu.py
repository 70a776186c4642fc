"""The GPU's benchmark takes its whole way on a CPU too, with tiny models: it is ready for one."""

import json
import subprocess
import sys
from typing import Any

import pytest
from tests.conftest import ROOT

pytestmark = pytest.mark.services


def run(*arguments: str) -> dict[str, Any]:
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_gpu", *arguments],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    line: dict[str, Any] = json.loads(told.stdout)
    return line


# Three processes import torch, one after the other: busy machines take minutes for it.
@pytest.mark.timeout(300)
def test_its_smoke_run_captions_the_same_on_all_sides() -> None:
    line = run("--smoke", "--only", "smolvlm-500m", "--rounds", "1", "--pictures", "2")
    assert line["ran"]
    assert line["smoke"]
    assert line["rounds_with_equal_captions"] == "1 of 1"
