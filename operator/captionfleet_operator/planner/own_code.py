"""Whether workers have the code that a model names: in its manifest, or in their own folders."""

from pathlib import PurePosixPath

from captionfleet.resources.model import Custom
from captionfleet_operator.planner.matching import first
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.proof import status_before
from captionfleet_operator.planner.seen import ModelSeen, WorkerSeen

_BROKEN = "*"
"""The file is there and is no Python: loading it tells what is wrong, and on which line."""


def has_code(model: ModelSeen, worker: WorkerSeen) -> bool:
    custom = model.spec.custom
    return custom is None or _brings(custom) or not names_of(custom).isdisjoint(worker.classes)


def names_of(custom: Custom) -> frozenset[str]:
    """Reported classes that stand for this one."""
    module = custom.entrypoint.partition(":")[0]
    return frozenset({custom.entrypoint, f"{module}:{_BROKEN}"})


def _brings(custom: Custom) -> bool:
    """The manifest has the file itself, or names the ConfigMap that its code comes from."""
    if custom.config_map_ref:
        return True
    file = f"{custom.entrypoint.partition(':')[0].replace('.', '/')}.py"
    return any(str(PurePosixPath(each.path)) == file for each in custom.files)


def code_missing(model: ModelSeen, workers: list[str]) -> str:
    """`workers`: those that were asked."""
    assert model.spec.custom
    entrypoint = model.spec.custom.entrypoint
    file = f"{entrypoint.partition(':')[0].replace('.', '/')}.py"
    asked = f" ({first(workers, ', ')})" if workers else ""
    return (
        f"no worker has the class {entrypoint}{asked}: save it as {file} in the workers' "
        "custom_infer folder, or send the code with the model (upload it, or spec.custom.files)"
    )


def was_missing(memory: Memory, model: ModelSeen) -> bool:
    """The workers that were there for this very spec lacked its code."""
    generation = model.manifest.metadata.generation
    return any(
        each.type == "Scheduled"
        and each.reason == "CodeMissing"
        and each.observed_generation == generation
        for each in status_before(memory, model).conditions
    )
