"""What a worker is told about each of its models: paths as they are there, code where it is needed.

The whole is sent every 2 s, so code goes along only until the worker tells of a copy made of it.
"""

from collections.abc import Sequence

from captionfleet.messages import Change, CopyState, ModelAssignment, Wanted
from captionfleet.resources.model import CustomFile
from captionfleet_operator.planner import ModelSeen, Plan, WorkerSeen, World

VOLUMES_FOLDER = "/volumes"
"""Where workers on Kubernetes find the claims of their pool, each under its own name."""
MOST_CODE = 4 * 2**20
"""Bytes of code in one message: RabbitMQ refuses messages above 16 MB, and escapes take room."""


def model_assignments(plan: Plan, world: World, worker: str) -> dict[str, ModelAssignment]:
    """The models of a worker's assignment. A new one whose code finds no room comes later: once
    the worker has begun with those before it."""
    there, room = world.workers[worker], MOST_CODE
    told = {}
    for name, state in plan.assignments[worker].items():
        model = world.models[name]
        needs = _needs_code(model, state, there)
        size = _bytes_of(code_of(model)) if needs else 0
        if size > room and name not in there.copies:
            continue
        room -= size
        told[name] = model_assignment(
            model,
            state,
            change=plan.changes.get((worker, name), Change.REPLACE),
            asked=world.override(worker, name) == state,
            with_code=needs,
        )
    return told


def model_assignment(
    model: ModelSeen,
    state: Wanted,
    *,
    change: Change = Change.REPLACE,
    asked: bool = False,
    with_code: bool = True,
) -> ModelAssignment:
    """The model as a worker gets it: with code from elsewhere, and with paths as they are there."""
    spec = model.spec.as_manifest()
    code = code_of(model) if with_code else ()
    if model.brings_code:
        spec["custom"].pop("configMapRef", None)
        spec["custom"]["files"] = [each.as_manifest() for each in code]
    volume = (spec.get("source") or {}).get("volume")
    if volume and (claim := volume.pop("claimName", None)):
        volume["path"] = f"{VOLUMES_FOLDER}/{claim}/{volume['path'].lstrip('/')}"
    return ModelAssignment(
        state=state, fingerprint=model.fingerprint, spec=spec, change=change, asked=asked,
        code_left_out=model.brings_code and not code,
    )  # fmt: skip


def code_of(model: ModelSeen) -> Sequence[CustomFile]:
    """Files that come with the model, from its ConfigMap or its manifest."""
    custom = model.spec.custom
    return model.code or (custom.files if custom else ())


def _needs_code(model: ModelSeen, state: Wanted, worker: WorkerSeen) -> bool:
    """It shall be loaded there, and the worker does not tell that it has heard so."""
    if state != Wanted.LOADED:
        return False
    copy = worker.copies.get(model.name)
    return not any(
        each.fingerprint == model.fingerprint and each.state != CopyState.UNLOADING
        for each in (copy.both if copy else ())
    )


def _bytes_of(code: Sequence[CustomFile]) -> int:
    return sum(len(each.content.encode()) for each in code)
