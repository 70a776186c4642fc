"""crds/*.yaml on a real API server: what it accepts, fills in, refuses, shows and explains."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.cluster.clusters import Cluster, CommandFailed
from tests.conftest import ROOT, eventually
from tests.contract.rule_cases import CASES, CPU, HUB, MISTYPED, Case, manifest, parts

from captionfleet.resources import ModelStatus, PoolStatus, parse_manifest
from captionfleet.resources.crd import crds

PLURALS = {"CaptionModel": "captionmodels", "CaptionWorkerPool": "captionworkerpools"}
STATUSES: dict[str, type[ModelStatus] | type[PoolStatus]] = {
    "CaptionModel": ModelStatus,
    "CaptionWorkerPool": PoolStatus,
}
SMALLEST = [
    manifest("CaptionModel", {"source": HUB}, "m"),
    manifest("CaptionWorkerPool", CPU, "p"),
]
FULL = list(yaml.safe_load_all((ROOT / "tests/contract/full_manifests.yaml").read_text()))


@pytest.fixture(scope="module")
def home(control_plane: Cluster) -> str:
    """One namespace for all tests here, each of which uses names of its own."""
    control_plane.kubectl("create", "namespace", "crds")
    return "crds"


def schema_of(kind: str) -> dict[str, Any]:
    crd: dict[str, Any] = crds()[f"{PLURALS[kind]}.yaml"]
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def sample(schema: dict[str, Any]) -> Any:
    """A value of this schema with every field set."""
    match schema["type"]:
        case "object":
            return {name: sample(part) for name, part in schema["properties"].items()}
        case "array":
            return [sample(schema["items"])]
        case "string":
            return schema.get("enum", ["some text"])[-1]
        case "boolean":
            return True
        case number:
            return 7 if number == "integer" else 1.5


# ---- kinds ------------------------------------------------------------------------
def test_both_kinds_are_structural_and_established(control_plane: Cluster) -> None:
    for plural in PLURALS.values():
        crd = control_plane.get("crd", f"{plural}.captionfleet.io")
        conditions = {each["type"]: each["status"] for each in crd["status"]["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}


def test_the_category_and_the_short_names_find_them(control_plane: Cluster, home: str) -> None:
    control_plane.apply(SMALLEST, "-n", home)

    model, pool = "captionmodel.captionfleet.io/m", "captionworkerpool.captionfleet.io/p"
    for what in ("captioning", "capm,capw"):
        found = control_plane.kubectl("get", what, "-n", home, "-o", "name").split()
        assert {model, pool} <= set(found)


# ---- specs ------------------------------------------------------------------------
def test_the_server_fills_in_what_the_types_do_and_drops_nothing(
    control_plane: Cluster, home: str
) -> None:
    obeying = [manifest(case.kind, case.accepted, f"a{i}") for i, case in enumerate(CASES)]
    documents = [*SMALLEST, *FULL, *obeying]

    filled = control_plane.apply(documents, "-n", home, "--dry-run=server")

    for theirs, document in zip(filled, documents, strict=True):
        assert theirs["spec"] == parse_manifest(document).spec.as_manifest(), document


@pytest.mark.parametrize("kind", PLURALS)
def test_the_full_manifests_set_every_field(kind: str) -> None:
    specs = [document["spec"] for document in FULL if document["kind"] == kind]
    fields = {path for path, _ in parts(schema_of(kind)["properties"]["spec"]) if path}

    assert fields - {path for spec in specs for path in paths_in(spec)} == set()


def paths_in(value: Any, path: str = "") -> Iterator[str]:
    """The paths of a value, as `parts` writes those of its schema."""
    yield path
    if isinstance(value, dict):
        for name, part in value.items():
            yield from paths_in(part, f"{path}.{name}".lstrip("."))
            yield f"{path}{{}}"
    elif isinstance(value, list):
        for part in value:
            yield from paths_in(part, f"{path}[]")


@pytest.fixture(scope="module")
def refusals(control_plane: Cluster, home: str) -> list[str]:
    """What kubectl says to all that must be refused, tried at once: a sentence per manifest."""
    there = [manifest(case.kind, case.before, case.refused_name) for case in CASES if case.before]
    control_plane.apply(there, "-n", home)
    broken = [manifest(case.kind, case.refused, case.refused_name) for case in CASES]
    mistyped = [manifest(kind, spec, f"mistyped-{i}") for i, (kind, spec, _) in enumerate(MISTYPED)]

    with pytest.raises(CommandFailed) as refusal:
        control_plane.apply([*broken, *mistyped], "-n", home, "--dry-run=server")
    return refusal.value.stderr.splitlines()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_server_names_the_rule_that_is_broken_and_no_other(
    refusals: list[str], case: Case
) -> None:
    problem = f'{case.path or "<nil>"}: Invalid value: "object": {case.sentence}'
    end = f'"{case.refused_name}" is invalid: {problem}'

    assert [line for line in refusals if line.endswith(end)]


@pytest.mark.parametrize("i", range(len(MISTYPED)), ids=lambda i: MISTYPED[i][2])
def test_the_server_refuses_a_value_of_a_wrong_type(refusals: list[str], i: int) -> None:
    [line] = [line for line in refusals if f'"mistyped-{i}" is invalid: ' in line]

    assert f"spec.{MISTYPED[i][2]}: " in line


def test_a_bare_number_is_a_quantity_as_in_a_pod(control_plane: Cluster, home: str) -> None:
    spec = {**CPU, "resources": {"requests": {"cpu": 2, "memory": "4Gi"}}}

    [pool] = control_plane.apply(
        manifest("CaptionWorkerPool", spec), "-n", home, "--dry-run=server"
    )

    assert pool["spec"]["resources"]["requests"] == {"cpu": 2, "memory": "4Gi"}


def test_a_field_that_nobody_knows_is_refused_by_name(control_plane: Cluster, home: str) -> None:
    document = manifest("CaptionModel", {"source": HUB, "sped": 1})

    with pytest.raises(CommandFailed, match=r'unknown field "spec\.sped"'):
        control_plane.apply(document, "-n", home, "--dry-run=server")


# ---- status and scale -------------------------------------------------------------
def full_status(kind: str) -> dict[str, Any]:
    status: dict[str, Any] = sample(schema_of(kind)["properties"]["status"])
    status["conditions"][0] |= {"type": "Ready", "status": "True"}
    return status


def write_status(cluster: Cluster, home: str, kind: str, name: str, status: Any) -> dict[str, Any]:
    patch = ["--subresource=status", "--type=merge", "-p", json.dumps({"status": status})]
    text = cluster.kubectl("patch", kind, name, "-n", home, *patch, "-o", "json")
    written: dict[str, Any] = json.loads(text)
    return written


@pytest.mark.parametrize("kind", PLURALS)
def test_status_is_a_subresource_and_loses_nothing(
    control_plane: Cluster, home: str, kind: str
) -> None:
    document = next(each for each in SMALLEST if each["kind"] == kind)
    name = f"status-{PLURALS[kind]}"
    control_plane.apply(manifest(kind, document["spec"], name), "-n", home)

    written = write_status(control_plane, home, kind, name, full_status(kind))
    with_status = {**manifest(kind, document["spec"], name), "status": {"message": "not so"}}
    [applied] = control_plane.apply(with_status, "-n", home)

    assert written["status"] == applied["status"] == full_status(kind)
    assert written["metadata"]["generation"] == applied["metadata"]["generation"] == 1


@pytest.mark.parametrize("kind", PLURALS)
def test_a_status_is_filled_in_as_the_types_do(
    control_plane: Cluster, home: str, kind: str
) -> None:
    document = next(each for each in SMALLEST if each["kind"] == kind)
    name = f"little-{PLURALS[kind]}"
    control_plane.apply(manifest(kind, document["spec"], name), "-n", home)

    written = write_status(control_plane, home, kind, name, {"message": "so"})

    ours = STATUSES[kind].model_validate({"message": "so"}).as_manifest()
    assert written["status"] == ours


@pytest.mark.parametrize("kind", PLURALS)
def test_every_column_shows_something(control_plane: Cluster, home: str, kind: str) -> None:
    document = next(each for each in FULL if each["kind"] == kind)
    name = f"columns-{PLURALS[kind]}"
    control_plane.apply(manifest(kind, document["spec"], name), "-n", home)
    write_status(control_plane, home, kind, name, full_status(kind) | {"message": "last"})

    table = control_plane.kubectl("get", kind, name, "-n", home, "-o", "wide").splitlines()

    # Columns start where their heads start.
    starts = [0] + [i for i in range(1, len(table[0])) if table[0][i - 1] == " " != table[0][i]]
    shown = {
        table[0][a:b].strip(): table[1][a:b].strip()
        for a, b in zip(starts, [*starts[1:], None], strict=True)
    }
    columns = crds()[f"{PLURALS[kind]}.yaml"]["spec"]["versions"][0]["additionalPrinterColumns"]
    assert list(shown) == ["NAME", *(column["name"] for column in columns)]
    assert "" not in shown.values() and "<none>" not in shown.values()
    assert shown["MESSAGE"] == "last"


def test_kubectl_scales_a_pool_that_is_sized_from_outside(
    control_plane: Cluster, home: str
) -> None:
    spec = {**CPU, "replicas": 2, "autoscaling": {"mode": "External"}}
    control_plane.apply(manifest("CaptionWorkerPool", spec, "scaled"), "-n", home)
    status = {"replicas": 2, "selector": "captionfleet.io/pool=scaled"}
    write_status(control_plane, home, "CaptionWorkerPool", "scaled", status)

    control_plane.kubectl("scale", "capw/scaled", "--replicas=5", "-n", home)

    path = f"/apis/captionfleet.io/v1alpha1/namespaces/{home}/captionworkerpools/scaled/scale"
    scale = json.loads(control_plane.kubectl("get", "--raw", path))
    assert scale["spec"] == {"replicas": 5}
    assert scale["status"] == status


def test_kubectl_cannot_scale_a_pool_that_sizes_itself(control_plane: Cluster, home: str) -> None:
    control_plane.apply(manifest("CaptionWorkerPool", CPU, "self-sized"), "-n", home)

    with pytest.raises(CommandFailed, match="replicas is decided by autoscaling"):
        control_plane.kubectl("scale", "capw/self-sized", "--replicas=5", "-n", home)


# ---- explanations -----------------------------------------------------------------
@pytest.mark.parametrize("kind", PLURALS)
async def test_kubectl_explains_every_field(control_plane: Cluster, kind: str) -> None:
    def served() -> Any:
        path = "/openapi/v3/apis/captionfleet.io/v1alpha1"  # what `kubectl explain` prints
        schemas = json.loads(control_plane.kubectl("get", "--raw", path))["components"]["schemas"]
        return schemas.get(f"io.captionfleet.v1alpha1.{kind}")

    schema = await eventually(served, what="the server publishes the kind's schema")

    fields = [(path, part) for path, part in parts(schema) if not path.endswith(("[]", "{}"))]
    ours = [(path, part) for path, part in fields if not path.startswith("metadata")]
    assert {path for path, _ in ours} >= {"", "spec", "status", "status.conditions"}
    assert [path for path, part in ours if not part.get("description")] == []


def test_kubectl_explain_prints_the_sentence_of_a_field(control_plane: Cluster) -> None:
    text = control_plane.kubectl("explain", "capm.spec.source.huggingFace.repo")

    assert "Repository on the hub, as owner/name." in text
