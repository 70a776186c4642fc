"""Whether workers have the code that a model names: in its manifest, or in their own folders."""

from pathlib import PurePosixPath

from captionfleet.messages import broken_file, reported_as
from captionfleet.resources.model import Custom
from captionfleet_operator.planner.matching import first
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.proof import status_before
from captionfleet_operator.planner.seen import ModelSeen, WorkerSeen
from captionfleet_operator.planner.world import World


def has_code(model: ModelSeen, worker: WorkerSeen) -> bool:
    custom = model.spec.custom
    if custom is None or _brings(custom):
        return True
    return not reported_as(custom.entrypoint).isdisjoint(worker.classes)


def _brings(custom: Custom) -> bool:
    """The manifest has the file itself, or names the ConfigMap that its code comes from."""
    if custom.config_map_ref:
        return True
    return any(str(PurePosixPath(each.path)) == custom.file for each in custom.files)


def _in_its_pools(world: World, model: ModelSeen, worker: WorkerSeen) -> bool:
    return worker.pool in world.takers[model.name].names


def code_missing(model: ModelSeen, workers: list[str]) -> str:
    """`workers`: those that were asked."""
    assert model.spec.custom
    entrypoint, file = model.spec.custom.entrypoint, model.spec.custom.file
    asked = f" ({first(workers, ', ')})" if workers else ""
    return (
        f"no worker has the class {entrypoint}{asked}: save it as {file} in the workers' "
        "custom_infer folder, or send the code with the model (upload it, or spec.custom.files)"
    )


def broken_code(world: World, model: ModelSeen) -> str:
    """Why no worker can load a model that nobody has loaded, or empty: its file is no Python."""
    custom = model.spec.custom
    if custom is None or _brings(custom):
        return ""
    broken = broken_file(custom.entrypoint.partition(":")[0])
    could = [each for each in world.by_id if each.open and _in_its_pools(world, model, each)]
    having = [each for each in could if has_code(model, each)]
    if not having or any(broken not in each.classes for each in having):
        return ""
    told = [each for each in having[0].heartbeat.custom if each.entrypoint == broken]
    return f"{custom.file} on {having[0].id} is {told[0].problem}: correct it and save it"


def was_missing(memory: Memory, model: ModelSeen) -> bool:
    """The workers that were there for this very spec lacked its code."""
    generation = model.manifest.metadata.generation
    return any(
        each.type == "Scheduled"
        and each.reason == "CodeMissing"
        and each.observed_generation == generation
        for each in status_before(memory, model).conditions
    )
