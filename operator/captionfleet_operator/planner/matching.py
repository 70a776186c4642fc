"""Which pools take which models: selectors of both sides, the device, and mounted claims.

Judged once per kind of model and not per model: a thousand models ask for few different things.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from captionfleet.resources.model import Device
from captionfleet_operator.planner.seen import ModelSeen, PoolSeen

_MOST_NAMED = 5


@dataclass(frozen=True)
class Refusal:
    """Why a model cannot be placed as things stand."""

    reason: str
    """One word for programs."""
    sentence: str


@dataclass(frozen=True)
class Takers:
    """The pools that take a model, by name; suspended ones do not."""

    pools: tuple[PoolSeen, ...]
    names: frozenset[str]
    refusal: Refusal | None
    """Why there is none."""


def takers(
    models: Mapping[str, ModelSeen], pools: Mapping[str, PoolSeen], *, kubernetes: bool
) -> dict[str, Takers]:
    """Model -> the pools that take it. Outside Kubernetes nobody can mount a claim."""
    listed = [pool for _, pool in sorted(pools.items())]
    labels = sorted({key for pool in listed for key in pool.spec.model_selector.match_labels})
    known: dict[Hashable, Takers] = {}
    found = {}
    for name, model in models.items():
        asked = _asked(model, labels)
        if asked not in known:
            known[asked] = _takers(model, listed, kubernetes=kubernetes)
        found[name] = known[asked]
    return found


def pool_takes(model: ModelSeen, pool: PoolSeen) -> bool:
    """Both selectors agree, it has the device, and mounts the claim if there is one."""
    device, claim = model.spec.requirements.device, model.claim
    return (
        pool.spec.model_selector.matches(model.manifest.metadata.labels)
        and model.spec.pool_selector.matches(pool.manifest.metadata.labels)
        and (device == Device.ANY or device.value == pool.spec.device.type.value)
        and (claim is None or any(volume.claim_name == claim for volume in pool.spec.volumes))
    )


def pool_refuses(model: ModelSeen, pool: PoolSeen) -> Refusal | None:
    """Why a pool does not take a model, naming the fields."""
    if pool_takes(model, pool):
        return None
    for selector, labels, side in (
        (pool.spec.model_selector, model.manifest.metadata.labels, "the pool's modelSelector"),
        (model.spec.pool_selector, pool.manifest.metadata.labels, "the model's poolSelector"),
    ):
        if not selector.matches(labels):
            wanted = ", ".join(f"{k}={v}" for k, v in sorted(selector.match_labels.items()))
            return Refusal("NoMatchingPool", f"{side} wants {wanted}")
    device, has = model.spec.requirements.device, pool.spec.device.type
    if device != Device.ANY and device.value != has.value:
        sentence = f"requirements.device is {device.value}, the pool has {has.value}"
        return Refusal("NoMatchingPool", sentence)
    return Refusal("VolumeNotMounted", f"its spec.volumes lacks the claim {model.claim}")


def _takers(model: ModelSeen, pools: list[PoolSeen], *, kubernetes: bool) -> Takers:
    if model.code_trouble:
        return Takers((), frozenset(), Refusal("CodeNotFound", model.code_trouble))
    if model.claim and not kubernetes:
        sentence = (
            f"source.volume.claimName {model.claim} needs Kubernetes: remove it, and let "
            "source.volume.path name a folder of this machine"
        )
        return Takers((), frozenset(), Refusal("VolumeNotMounted", sentence))
    taking = tuple(pool for pool in pools if not pool.stopped and pool_takes(model, pool))
    names = frozenset(pool.name for pool in taking)
    return Takers(taking, names, None if taking else _refused_by_all(model, pools))


def _refused_by_all(model: ModelSeen, pools: list[PoolSeen]) -> Refusal:
    if not pools:
        sentence = "there is no pool of workers: apply a CaptionWorkerPool"
        return Refusal("NoMatchingPool", sentence)
    refusals = [(pool, pool_refuses(model, pool)) for pool in pools]
    unmounted = [pool.name for pool, why in refusals if why and why.reason == "VolumeNotMounted"]
    if unmounted:
        named = first(unmounted, " or ")
        sentence = f"no pool mounts the claim {model.claim}: add it to spec.volumes of pool {named}"
        return Refusal("VolumeNotMounted", sentence)
    reasons = first([f"{pool.name} {_why_not(pool, why)}" for pool, why in refusals], "; ")
    return Refusal("NoMatchingPool", f"no pool takes this model: {reasons}")


def _why_not(pool: PoolSeen, refusal: Refusal | None) -> str:
    if pool.deleted:
        return "is being deleted"
    if pool.stopped or refusal is None:
        return "is suspended"
    return f"refuses: {refusal.sentence}"


def first(parts: Sequence[str], between: str) -> str:
    """The first few of them, and how many more there are."""
    more = len(parts) - _MOST_NAMED
    return between.join(parts[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _asked(model: ModelSeen, labels: list[str]) -> Hashable:
    """Everything of a model that a pool judges it by."""
    spec = model.manifest.spec
    has, selector = model.manifest.metadata.labels, spec.pool_selector.match_labels
    return (
        tuple([has.get(key) for key in labels]),
        tuple(sorted(selector.items())) if selector else (),
        spec.requirements.device,
        model.claim,
        model.code_trouble,
    )
