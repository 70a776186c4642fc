"""A thousand models on fifty pools: the same results as for a few, and statuses that stay small."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from tests.operator.fleets import GB, copy, decide, loaded, model, pool, worker, world

from captionfleet_operator.planner import Memory, ModelSeen, World, plan
from captionfleet_operator.planner.matching import pool_refuses

POOLS = 50


def large(models: Sequence[ModelSeen]) -> World:
    """Model n fits pool n % 50 alone; each pool has four workers with a copy of its first model."""
    workers = [
        worker(f"p{n}-{k}", copy(f"m{n}"), pool=f"p{n}", memory=64 * GB)
        for n in range(POOLS)
        for k in range(4)
    ]
    pools = [
        pool(f"p{n}", labels={"group": str(n)}, autoscaling={"minReplicas": 4})
        for n in range(POOLS)
    ]
    return world(models=models, pools=pools, workers=workers)


@cache
def many() -> list[ModelSeen]:
    """Made once: judging a thousand manifests takes longer than planning for them."""
    return [
        model(
            f"m{n}",
            poolSelector={"matchLabels": {"group": str(n % POOLS)}},
            acceptance={"prove": "OnApply"},
        )
        for n in range(1000)
    ]


def test_the_pools_of_every_model_are_those_that_do_not_refuse_it() -> None:
    seen = large(many())

    for name, model_seen in list(seen.models.items())[::37]:
        taking = {pool for pool in seen.pools if not pool_refuses(model_seen, seen.pools[pool])}
        assert seen.takers[name].names == taking == {f"p{int(name[1:]) % POOLS}"}


def test_a_model_at_rest_keeps_the_very_status_it_had() -> None:
    seen = large(many())
    proven = Memory(proven={name: each.fingerprint for name, each in seen.models.items()})
    decided, memory = plan(seen, proven)

    later, _ = plan(replace(seen, now=seen.now + 60), memory)

    assert all(later.model_statuses[n] is decided.model_statuses[n] for n in seen.models)
    assert later.pool_statuses == decided.pool_statuses


def test_a_thousand_proofs_begin_one_on_each_worker() -> None:
    decided = decide(large(many()))

    begun = [set(loaded(decided, w)) - {f"m{w[1:].split('-')[0]}"} for w in decided.assignments]
    assert [len(each) for each in begun] == [1] * 200


def test_the_lists_of_a_status_are_capped_and_its_counts_are_whole() -> None:
    workers = [worker(f"w{n:03}", copy("a"), cached=["a"]) for n in range(150)]
    seen = world(models=[model("a", residency={"maxCopies": 500})], pools=[pool()], workers=workers)

    decided = decide(seen)
    of_model, of_pool = decided.model_statuses["a"], decided.pool_statuses["cpu"]

    assert (of_model.copies.loaded, len(of_model.copies.instances)) == (150, 64)
    assert len(of_model.cached_on) == 64
    assert (of_pool.replicas, len(of_pool.workers)) == (150, 100)
    assert decided.waiting["a"].endswith("w004 and 145 more")
