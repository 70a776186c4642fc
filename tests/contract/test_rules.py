"""The CEL rules beside the types, judged without an API server."""

import pytest
from tests.contract.rule_cases import CASES, Case, all_rules, manifest

from captionfleet.resources import InvalidManifest, parse_manifest


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
