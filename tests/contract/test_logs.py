"""What programs log: an event per line, and in JSON everything that belongs to it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from captionfleet.settings import FleetSettings

# A program that logs an event and an error of its own, has a library that logs one and is
# warned, and ends by an exception.
PROGRAM = """
import logging, sys, structlog, warnings
from captionfleet.logs import configure_logging

configure_logging("worker", "info", sys.argv[1])
log = structlog.get_logger()
log.info("task failed", model="m", task="t")
log.debug("too much")
try:
    raise OSError("the disk is full")
except OSError:
    log.exception("not kept", model="m")
    logging.getLogger("library").exception("trouble %s", "here")
warnings.warn("old ways")
raise LookupError("nobody caught it")
"""


def lines_of(form: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, form], capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.returncode) == ("", 1)
    return ran.stderr.splitlines()


@pytest.mark.parametrize("form", ["json", "JSON"])
def test_json_is_an_object_per_line_tracebacks_and_libraries_too(form: str) -> None:
    told: list[dict[str, Any]] = [json.loads(line) for line in lines_of(form)]
    first, own, foreign, warned, last = told
    assert {
        "event": "task failed",
        "level": "info",
        "program": "worker",
        "model": "m",
        "task": "t",
    }.items() <= first.items()
    assert first["timestamp"].endswith("Z")
    assert (own["event"], foreign["event"]) == ("not kept", "trouble here")
    for each in (own, foreign):
        assert each["level"] == "error" and each["program"] == "worker"
        assert each["exception"].endswith("OSError: the disk is full")
    assert "UserWarning: old ways" in warned["event"] and warned["level"] == "warning"
    assert last["level"] == "critical" and last["program"] == "worker"
    assert last["exception"].endswith("LookupError: nobody caught it")


def test_text_begins_each_event_with_its_time_and_level() -> None:
    lines = lines_of("text")
    assert "[info     ] task failed" in lines[0]
    assert "model=m" in lines[0] and "program=worker" in lines[0] and "task=t" in lines[0]
    assert lines[-1] == "LookupError: nobody caught it"


def test_level_and_format_are_taken_in_any_case() -> None:
    settings = FleetSettings(_env_file=None, log_level="INFO", log_format="JSON")
    assert (settings.log_level, settings.log_format) == ("INFO", "JSON")
