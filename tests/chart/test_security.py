"""Restricted pods, secrets by reference, few rights, closed doors."""

import base64
from typing import Any

import pytest
import yaml
from tests.chart.helm import Document, Helm, Rendered
from tests.conftest import ROOT

API, OPERATOR, BROKER = "captionfleet-api", "captionfleet-operator", "captionfleet-rabbitmq"
QUICKSTART, UNINSTALL, TEST = (
    "captionfleet-quickstart",
    "captionfleet-uninstall",
    "captionfleet-test",
)


def test_every_pod_is_as_restricted_as_kubernetes_knows(everything: Rendered) -> None:
    pods = dict(everything.pods())
    assert pods.keys() == {API, OPERATOR, BROKER, QUICKSTART, UNINSTALL, TEST}
    for name, pod in pods.items():
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in _containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name


def test_every_container_says_what_it_needs(everything: Rendered) -> None:
    for name, pod in everything.pods():
        for container in _containers(pod):
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), name
            assert "memory" in resources["limits"], name


def test_only_who_talks_to_the_api_server_has_a_token(everything: Rendered) -> None:
    pods = dict(everything.pods())
    mounted = {n for n, pod in pods.items() if pod["spec"]["automountServiceAccountToken"]}
    assert mounted == {API, OPERATOR, QUICKSTART, UNINSTALL}
    accounts = everything.of("ServiceAccount")
    assert not any(each["automountServiceAccountToken"] for each in accounts)


def test_no_pod_learns_of_other_services_by_its_environment(everything: Rendered) -> None:
    assert not any(pod["spec"]["enableServiceLinks"] for _, pod in everything.pods())


def test_secrets_appear_nowhere_but_in_secrets(everything: Rendered) -> None:
    secrets = everything.of("Secret")
    words = [
        base64.b64decode(value).decode()
        for each in secrets
        for name, value in each["data"].items()
        if name != "username"
    ]
    assert len(words) == 3
    others = yaml.safe_dump([each for each in everything.documents if each not in secrets])
    assert not [word for word in words if word in others]


def test_generated_secrets_are_long_and_never_alike(helm: Helm) -> None:
    first, second = (helm.template(), helm.template())
    for name, key in (("captionfleet-token", "token"), ("captionfleet-broker", "password")):
        values = [
            base64.b64decode(each.one("Secret", name)["data"][key]) for each in (first, second)
        ]
        assert values[0] != values[1]
        assert len(values[0]) == 40


def test_rights_are_in_the_namespace_and_never_wild(zero_values: Rendered) -> None:
    assert not zero_values.of("ClusterRole") + zero_values.of("ClusterRoleBinding")
    for role in zero_values.of("Role"):
        for rule in role["rules"]:
            assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
            assert not {"secrets", "pods/exec"} & set(rule["resources"])
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_the_api_has_the_rights_its_catalog_uses(zero_values: Rendered) -> None:
    used = yaml.safe_load((ROOT / "tests/contract/api-rights.yaml").read_text())
    assert zero_values.one("Role", "captionfleet-api")["rules"] == used["rules"]


def test_roles_belong_to_the_accounts_that_pods_use(everything: Rendered) -> None:
    for binding in everything.of("RoleBinding"):
        name = binding["metadata"]["name"]
        [subject] = binding["subjects"]
        assert binding["roleRef"]["name"] == name
        assert subject["namespace"] == "captions"
        assert everything.pod(name)["spec"]["serviceAccountName"] == subject["name"]


def test_only_admin_may_write_what_runs_code(everything: Rendered) -> None:
    roles = {
        role: {verb for rule in found["rules"] for verb in rule["verbs"]}
        for found in everything.of("ClusterRole")
        for role in ("view", "edit", "admin")
        if f"rbac.authorization.k8s.io/aggregate-to-{role}" in found["metadata"]["labels"]
    }
    assert roles["view"] == {"get", "list", "watch"}
    edit = everything.one("ClusterRole", "captionfleet-captions-edit")["rules"]
    assert [rule["resources"] for rule in edit] == [["captionworkerpools/scale"]]
    assert {"create", "update", "patch", "delete"} <= roles["admin"]


def test_the_broker_is_for_the_fleet_alone(zero_values: Rendered) -> None:
    spec = zero_values.one("NetworkPolicy", "captionfleet-rabbitmq")["spec"]
    amqp, metrics = spec["ingress"]
    who = [peer["podSelector"]["matchLabels"] for peer in amqp["from"]]
    components = [labels["app.kubernetes.io/component"] for labels in who]
    assert components == ["api", "operator", "uninstall", "worker"]
    assert [port["port"] for port in amqp["ports"]] == ["amqp"]
    assert metrics == {"ports": [{"port": "metrics", "protocol": "TCP"}]}
    assert "egress" not in spec


@pytest.mark.parametrize("name", [API, OPERATOR, BROKER])
def test_what_is_not_allowed_in_or_out_is_denied(name: str, zero_values: Rendered) -> None:
    policy = zero_values.one("NetworkPolicy", name)["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]


def test_who_reaches_the_api_can_be_limited(helm: Helm) -> None:
    peer = {"namespaceSelector": {"matchLabels": {"team": "captions"}}}
    rendered = helm.template({"networkPolicy": {"apiFrom": [peer], "brokerFrom": [peer]}})
    [rule] = rendered.one("NetworkPolicy", "captionfleet-api")["spec"]["ingress"]
    test, given = rule["from"]
    assert test["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
    assert given == peer
    broker = rendered.one("NetworkPolicy", "captionfleet-rabbitmq")["spec"]["ingress"][0]
    assert peer in broker["from"]


def test_ports_that_pods_may_reach_can_be_added(helm: Helm) -> None:
    rendered = helm.template(
        {"networkPolicy": {"extraEgressPorts": [8080], "apiServerPorts": [6443]}}
    )
    _, out = rendered.one("NetworkPolicy", "captionfleet-operator")["spec"]["egress"]
    assert [port["port"] for port in out["ports"]] == [443, 5671, 5672, 5432, 6443, 8080]


def _containers(pod: Document) -> list[dict[str, Any]]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
