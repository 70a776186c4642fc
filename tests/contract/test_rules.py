"""The CEL rules beside the types, judged without an API server."""

import pytest
from tests.contract.rule_cases import CASES, CPU, MISTYPED, Case, Spec, all_rules, manifest

from captionfleet.resources import InvalidManifest, PoolManifest, parse_manifest


def test_every_rule_has_a_case() -> None:
    cases = [(case.kind, case.path, case.sentence) for case in CASES]

    assert sorted(cases) == sorted(all_rules())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_folder_accepts_what_obeys_the_rule_and_names_the_rule_otherwise(case: Case) -> None:
    before = parse_manifest(manifest(case.kind, case.before)) if case.before else None

    parse_manifest(manifest(case.kind, case.accepted), before)
    with pytest.raises(InvalidManifest) as refusal:
        parse_manifest(manifest(case.kind, case.refused, case.refused_name), before)

    assert refusal.value.problems == [f"{case.path or 'manifest'}: {case.sentence}"]


@pytest.mark.parametrize(("kind", "spec", "place"), MISTYPED)
def test_a_folder_refuses_a_value_of_a_wrong_type(kind: str, spec: Spec, place: str) -> None:
    with pytest.raises(InvalidManifest) as refusal:
        parse_manifest(manifest(kind, spec))

    [problem] = refusal.value.problems
    assert problem.startswith(f"spec.{place}: ")


def test_a_bare_number_is_a_quantity_as_in_a_pod() -> None:
    pool = parse_manifest(
        manifest("CaptionWorkerPool", {**CPU, "resources": {"requests": {"cpu": 2}}})
    )

    assert isinstance(pool, PoolManifest)
    assert pool.spec.resources.requests == {"cpu": "2"}
