"""Builders of small fleets for tests: models, pools, heartbeats and worlds in a line each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from captionfleet.messages import (
    Copy,
    CopyState,
    CustomClass,
    FilesState,
    Heartbeat,
    ModelDemand,
    Wanted,
)
from captionfleet.resources import API_VERSION, ModelManifest, PoolManifest, parse_manifest
from captionfleet.sizes import WeightSizes
from captionfleet_operator.planner import (
    Memory,
    ModelSeen,
    OwnWorker,
    Plan,
    PoolSeen,
    WorkerSeen,
    World,
    plan,
)

GB = 10**9
START = 1_800_000_000.0


def model(
    name: str, *, labels: Mapping[str, str] | None = None, weights: int | None = None, **spec: Any
) -> ModelSeen:
    """Proven on first use, so that nothing is loaded for a proof but where a test asks for it.

    `weights`: bytes of files in bfloat16.
    """
    manifest = parse_manifest(
        {
            "apiVersion": API_VERSION,
            "kind": "CaptionModel",
            "metadata": {"name": name, "labels": dict(labels or {})},
            "spec": {
                "source": {"huggingFace": {"repo": f"test/{name}"}},
                "acceptance": {"prove": "OnFirstUse"},
            }
            | spec,
        }
    )
    assert isinstance(manifest, ModelManifest)
    sizes = WeightSizes(weights, weights // 2, 0) if weights else None
    return ModelSeen(manifest, manifest.spec.fingerprint(), weights=sizes)


def pinned(name: str, copies: int = 1, **spec: Any) -> ModelSeen:
    return model(name, residency={"policy": "Pinned", "minCopies": copies}, **spec)


def pool(
    name: str = "cpu",
    *,
    own: Sequence[OwnWorker] = (),
    labels: Mapping[str, str] | None = None,
    trouble: str = "",
    reason: str = "",
    shares_memory: bool = False,
    **spec: Any,
) -> PoolSeen:
    manifest = parse_manifest(
        {
            "apiVersion": API_VERSION,
            "kind": "CaptionWorkerPool",
            "metadata": {"name": name, "labels": dict(labels or {})},
            "spec": {"device": {"type": "CPU"}, **spec},
        }
    )
    assert isinstance(manifest, PoolManifest)
    return PoolSeen(
        manifest, tuple(own), trouble, trouble_reason=reason, shares_memory=shares_memory
    )


def copy(of: str, state: str = "ready", **facts: Any) -> Copy:
    facts = {"state_seconds": 1000.0, "idle_seconds": 5.0, **facts}
    facts.setdefault("fingerprint", model(of).fingerprint)
    return Copy(model=of, state=CopyState(state), **facts)


def worker(
    id_: str = "cpu-1",
    *copies: Copy,
    pool: str = "cpu",
    memory: int = 8 * GB,
    used: int | None = None,
    silent: float = 0.0,
    own: bool = True,
    draining: bool = False,
    host: str | None = None,
    device: str = "CPU",
    held: Sequence[str] = (),
    cached: Sequence[str] = (),
    classes: Sequence[str] = (),
    files: Sequence[FilesState] = (),
) -> WorkerSeen:
    beat = Heartbeat(
        worker=id_, pool=pool, incarnation="one", host=host or id_, pid=1, device=device,
        memory_total=memory, sent_at=0, copies=list(copies), held=list(held), cached=list(cached),
        memory_used=sum(c.memory_bytes or 0 for c in copies) if used is None else used,
        custom=[_class(each) for each in classes],
        files=list(files),
    )  # fmt: skip
    return WorkerSeen(beat, silent_seconds=silent, own=own, draining=draining)


def _class(entrypoint: str) -> CustomClass:
    """`module:*` is a file that is no Python."""
    problem = "not valid Python: expected ':' (line 2)" if entrypoint.endswith("*") else ""
    return CustomClass(entrypoint=entrypoint, sha256="0" * 64, problem=problem)


def world(
    *,
    models: Sequence[ModelSeen] = (),
    pools: Sequence[PoolSeen] = (),
    workers: Sequence[WorkerSeen] = (),
    demand: Mapping[str, int] | None = None,
    now: float = START,
    **facts: Any,
) -> World:
    """A settled world. Workers that are ours and not named by their pool are added to it."""
    return World(
        now=now,
        fleet="test",
        models={each.manifest.name: each for each in models},
        pools={each.name: _with_own(each, workers) for each in pools},
        workers={each.id: each for each in workers},
        demand={name: ModelDemand(pending=total) for name, total in (demand or {}).items()},
        **{"settled": True, **facts},
    )


def _with_own(seen: PoolSeen, workers: Sequence[WorkerSeen]) -> PoolSeen:
    known = {own.id for own in seen.own}
    heard = [
        OwnWorker(each.id, 1000.0, each.draining)
        for each in workers
        if each.own and each.pool == seen.name and each.id not in known
    ]
    return replace(seen, own=(*seen.own, *heard))


def decide(seen: World, memory: Memory | None = None) -> Plan:
    return plan(seen, memory or Memory())[0]


def loaded(decided: Plan, worker: str = "cpu-1") -> list[str]:
    """Models the worker shall load."""
    wanted = decided.assignments[worker]
    return sorted(name for name, state in wanted.items() if state == Wanted.LOADED)
