"""Code in a ConfigMap on a real API server: missed with words, then sent to the worker."""

import functools
from typing import Any

from tests.conftest import eventually as eventually_within
from tests.operator.cluster_stage import Stage

from captionfleet.broker.link import Delivery
from captionfleet.ids import new_nonce
from captionfleet.messages import Assignment

eventually = functools.partial(eventually_within, seconds=90)
CODE = {"mine.py": "class Mine: ..."}


def config_map(stage: Stage, name: str, **more: Any) -> None:
    metadata = {"name": name, "namespace": stage.namespace}
    stage.cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": CODE, **more}
    )


async def overhear(stage: Stage, worker: str) -> list[Assignment]:
    """What the worker is told from now on."""
    heard: list[Assignment] = []

    async def hear(delivery: Delivery) -> None:
        heard.append(Assignment.model_validate_json(delivery.body))

    names = stage.names
    queue = names.listen_queue(names.assignments, "test", new_nonce())
    session = await stage.link.connected()
    await session.listen(names.assignments, queue, names.worker_key("cpu", worker), hear)
    return heard


async def test_code_of_a_config_map_is_missed_with_words_and_then_sent(stage: Stage) -> None:
    stage.pool(autoscaling={"minReplicas": 1})
    stage.model("a", custom={"entrypoint": "mine:Mine", "configMapRef": {"name": "mine-code"}})
    stage.wanted = {"a": 1}
    stage.start()
    [worker] = await eventually(stage.staff)
    missed = ("False", "CodeNotFound")
    await eventually(lambda: stage.condition("capm", "a", "Accepted") == missed)
    assert "there is no ConfigMap mine-code" in stage.kubectl("describe", "capm", "a")

    heard = await overhear(stage, worker)
    config_map(stage, "mine-code", immutable=True)

    await eventually(lambda: stage.condition("capm", "a", "Ready") == ("True", "Loaded"))
    # Once it was heard it is not sent again.
    await eventually(lambda: heard[-1].models["a"].code_left_out)
    told = [each.models["a"] for each in heard if "a" in each.models]
    custom = next(each for each in told if not each.code_left_out).spec["custom"]
    assert custom["files"] == [{"path": "mine.py", "content": "class Mine: ..."}]
    assert "configMapRef" not in custom


async def test_a_config_map_that_may_change_is_refused(stage: Stage) -> None:
    config_map(stage, "open-code")
    stage.pool()
    stage.model("a", custom={"entrypoint": "mine:Mine", "configMapRef": {"name": "open-code"}})
    stage.start()

    refused = ("False", "CodeNotFound")
    await eventually(lambda: stage.condition("capm", "a", "Accepted") == refused)
    assert "set immutable: true" in stage.kubectl("describe", "capm", "a")
