"""The chart of the resource types, by itself and inside the main chart."""

import yaml
from tests.chart.helm import CRDS_CHART, Helm, Rendered
from tests.conftest import ROOT

KEEP = "helm.sh/resource-policy"


def test_it_installs_exactly_the_generated_types(helm: Helm) -> None:
    rendered = helm.template(chart=CRDS_CHART)
    files = [yaml.safe_load(each.read_text()) for each in (ROOT / "crds").iterdir()]
    assert len(rendered.documents) == len(files) == 2
    for file in files:
        found = rendered.one("CustomResourceDefinition", file["metadata"]["name"])
        assert found["spec"] == file["spec"]


def test_types_are_kept_on_uninstall_unless_told_otherwise(helm: Helm) -> None:
    for crd in helm.template(chart=CRDS_CHART).documents:
        assert crd["metadata"]["annotations"][KEEP] == "keep"
    for crd in helm.template({"keep": False}, chart=CRDS_CHART).documents:
        assert KEEP not in crd["metadata"]["annotations"]


def test_the_main_chart_brings_them_along(zero_values: Rendered, helm: Helm) -> None:
    brought = zero_values.of("CustomResourceDefinition")
    assert [each["metadata"]["annotations"][KEEP] for each in brought] == ["keep", "keep"]
    assert not helm.template({"crds": {"enabled": False}}).of("CustomResourceDefinition")
    dropped = helm.template({"crds": {"keep": False}}).of("CustomResourceDefinition")
    assert not any(KEEP in each["metadata"]["annotations"] for each in dropped)
