"""Which pools take which models: selectors of both sides, the device, and mounted claims.

Judged once per kind of model and not per model: a thousand models ask for few different things.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from captionfleet.resources.model import Device
from captionfleet_operator.planner.seen import ModelSeen, PoolSeen


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


def pool_refuses(model: ModelSeen, pool: PoolSeen) -> Refusal | None:
    """Why a pool does not take a model, naming the fields."""
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
    if model.claim and all(volume.claim_name != model.claim for volume in pool.spec.volumes):
        return Refusal("VolumeNotMounted", f"its spec.volumes lacks the claim {model.claim}")
    return None


def takers(
    models: Mapping[str, ModelSeen], pools: Mapping[str, PoolSeen], *, kubernetes: bool
) -> dict[str, Takers]:
    """Model -> the pools that take it. Outside Kubernetes nobody can mount a claim."""
    there = [pool for _, pool in sorted(pools.items()) if not pool.stopped]
    labels = sorted({key for pool in there for key in pool.spec.model_selector.match_labels})
    known: dict[Hashable, Takers] = {}
    found = {}
    for name, model in models.items():
        asked = _asked(model, labels)
        if asked not in known:
            possible = [] if model.claim and not kubernetes else there
            taking = tuple(pool for pool in possible if not pool_refuses(model, pool))
            known[asked] = Takers(taking, frozenset(pool.name for pool in taking))
        found[name] = known[asked]
    return found


def _asked(model: ModelSeen, labels: list[str]) -> Hashable:
    """Everything of a model that a pool judges it by."""
    has, selector = model.manifest.metadata.labels, model.spec.pool_selector.match_labels
    return (
        tuple(has.get(key) for key in labels),
        tuple(sorted(selector.items())) if selector else (),
        model.spec.requirements.device,
        model.claim,
    )
