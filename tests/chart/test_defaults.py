"""`helm install captionfleet charts/captionfleet`, and nothing else, is a whole installation."""

import base64
from typing import Any

import pytest
from tests.chart.helm import CHART, CRDS_CHART, Document, Helm, Rendered

from captionfleet.settings import FleetSettings
from captionfleet_api.settings import ApiSettings
from captionfleet_operator.cluster.uninstall import UninstallSettings
from captionfleet_operator.settings import OperatorSettings


def test_both_charts_pass_helm_lint(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), str(CRDS_CHART))


def test_zero_values_make_a_whole_installation(zero_values: Rendered) -> None:
    made = {
        f"{each['kind']} {each['metadata']['name']}"
        for each in zero_values.documents
        if "helm.sh/hook" not in each["metadata"].get("annotations", {})
    }
    assert made == {
        "CustomResourceDefinition captionmodels.captionfleet.io",
        "CustomResourceDefinition captionworkerpools.captionfleet.io",
        "Deployment captionfleet-api",
        "Deployment captionfleet-operator",
        "StatefulSet captionfleet-rabbitmq",
        "ConfigMap captionfleet-rabbitmq",
        "PersistentVolumeClaim captionfleet-api-data",
        "Secret captionfleet-token",
        "Secret captionfleet-broker",
        *(f"Service captionfleet-{part}" for part in ("api", "operator", "rabbitmq")),
        *(f"ServiceAccount captionfleet-{part}" for part in ("api", "operator", "rabbitmq")),
        *(f"NetworkPolicy captionfleet-{part}" for part in ("api", "operator", "rabbitmq")),
        *(f"Role captionfleet-{part}" for part in ("api", "operator")),
        *(f"RoleBinding captionfleet-{part}" for part in ("api", "operator")),
    }


@pytest.mark.parametrize(
    ("pod", "settings"),
    [
        ("captionfleet-api", ApiSettings),
        ("captionfleet-operator", OperatorSettings),
        ("captionfleet-uninstall", UninstallSettings),
    ],
)
def test_programs_take_the_environment_they_are_given(
    pod: str, settings: type[FleetSettings], zero_values: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {name: _value(zero_values, each) for name, each in zero_values.env(pod).items()}
    known = {
        str(field.validation_alias or f"CAPTIONFLEET_{name.upper()}")
        for name, field in settings.model_fields.items()
    }
    assert given.keys() <= known, "a variable that no setting reads"
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    read = settings(_env_file=None)

    assert (read.namespace, read.fleet) == ("captions", "captions")
    url = read.rabbitmq_url.get_secret_value()
    assert url.startswith("amqp://captionfleet:")
    assert url.endswith("@captionfleet-rabbitmq.captions.svc:5672/")


def test_workers_get_image_and_broker_from_the_operator(zero_values: Rendered) -> None:
    env = zero_values.env("captionfleet-operator")
    assert env["CAPTIONFLEET_WORKER_IMAGE"]["value"] == "captionfleet/worker:0.1.0"
    assert env["CAPTIONFLEET_WORKER_PULL_POLICY"]["value"] == "IfNotPresent"
    secret, key = env["CAPTIONFLEET_BROKER_SECRET"]["value"].split("/")
    assert key in zero_values.one("Secret", secret)["data"]


def test_services_and_policies_find_their_pods(everything: Rendered) -> None:
    pods = [pod["metadata"]["labels"] for _, pod in everything.pods()]
    for kind in ("Service", "NetworkPolicy"):
        for each in everything.of(kind):
            spec = each["spec"]
            selector = spec["selector"] if kind == "Service" else spec["podSelector"]["matchLabels"]
            matching = [labels for labels in pods if selector.items() <= labels.items()]
            assert len(matching) == 1, each["metadata"]["name"]


def test_service_ports_lead_to_ports_of_containers(zero_values: Rendered) -> None:
    for service in zero_values.of("Service"):
        spec = zero_values.pod(service["metadata"]["name"])["spec"]
        ports = {port["name"] for port in spec["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_two_releases_in_two_namespaces_share_no_name(helm: Helm) -> None:
    values = {"rbac": {"aggregate": True}, "crds": {"enabled": False}}
    cluster_wide = [
        {
            each["metadata"]["name"]
            for each in helm.template(values, namespace=each).of("ClusterRole")
        }
        for each in ("here", "there")
    ]
    assert len(cluster_wide[0]) == 3
    assert not cluster_wide[0] & cluster_wide[1]


def test_names_of_a_long_release_still_fit(helm: Helm) -> None:
    release = "a" * 53
    for each in helm.template(release=release).documents:
        name = each["metadata"]["name"]
        # A StatefulSet hangs a hash of 11 characters behind its name, a Job a pod's suffix of 6.
        assert len(name) <= (52 if each["kind"] == "StatefulSet" else 57), name


def test_what_a_restart_must_not_find_twice_is_recreated(zero_values: Rendered) -> None:
    for part in ("api", "operator"):
        spec = zero_values.one("Deployment", f"captionfleet-{part}")["spec"]
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_pictures_outlive_the_release(zero_values: Rendered) -> None:
    claim = zero_values.one("PersistentVolumeClaim", "captionfleet-api-data")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_hook_deletes_the_queue_that_the_api_uses(zero_values: Rendered) -> None:
    queues = {
        zero_values.env(f"captionfleet-{part}")["SERVER_QUEUE"]["value"]
        for part in ("api", "uninstall")
    }
    assert queues == {"captionfleet.captions.results.api"}


def _value(rendered: Rendered, variable: Document) -> str:
    """What the kubelet would make of it."""
    if "value" in variable:
        return str(variable["value"])
    source: dict[str, Any] = variable["valueFrom"]
    if "fieldRef" in source:
        return {"metadata.namespace": "captions", "metadata.name": "some-pod"}[
            source["fieldRef"]["fieldPath"]
        ]
    secret = rendered.one("Secret", source["secretKeyRef"]["name"])
    return base64.b64decode(secret["data"][source["secretKeyRef"]["key"]]).decode()
