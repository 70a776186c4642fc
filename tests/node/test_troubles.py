"""What goes wrong is said within a minute, where people look first."""

import os
from pathlib import Path

import pytest
from tests.conftest import eventually
from tests.node.installation import Installation
from tests.node.troubleshooting import BROKEN, HEALTHY, Case, page

KINDS = {"captionworkerpool": "CaptionWorkerPool", "captionmodel": "CaptionModel"}


@pytest.fixture(scope="module")
def broken(installed: Installation) -> Installation:
    """The shared installation with every broken case applied at once."""
    installed.kubectl(
        "create", "secret", "generic", "bad-broker", "--from-literal=url=http://no-broker"
    )
    for case in BROKEN:
        installed.apply(KINDS[case.kind], case.name, case.spec)
    return installed


@pytest.mark.parametrize("case", BROKEN, ids=[case.name for case in BROKEN])
async def test_what_is_broken_says_why_within_a_minute(broken: Installation, case: Case) -> None:
    def told() -> tuple[str, str, str]:
        return broken.condition(case.kind, case.name)

    await eventually(lambda: told()[1] == case.reason, seconds=60, what=f"{case.reason}: {told()}")

    status, _, message = told()
    assert status == "False"
    assert message in broken.kubectl("describe", case.kind, case.name).replace("\n", " ")


async def test_a_healthy_pool_says_so(broken: Installation) -> None:
    await eventually(lambda: broken.condition("capw", "cpu")[0] == "True", seconds=60)

    outputs = {
        case.name: broken.kubectl("describe", case.kind, case.name) for case in (HEALTHY, *BROKEN)
    }
    for case in BROKEN:
        broken.kubectl("delete", case.kind, case.name)
    broken.kubectl("delete", "secret", "bad-broker")
    assert "Unschedulable" not in outputs["cpu"]
    if place := os.environ.get("CAPTIONFLEET_DESCRIBED"):
        Path(place).write_text(page(outputs))
