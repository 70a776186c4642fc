"""Values that cannot work are refused, in words that say what to do."""

from typing import Any

import pytest
from tests.chart.helm import Helm

COMBINATIONS: list[tuple[dict[str, Any], str]] = [
    ({"api": {"replicas": 2}},
     "api.replicas must be 1: pictures lie on the api's own volume, and a second api would not see "
     "them. A larger machine helps, or a second installation in another namespace."),
    ({"rabbitmq": {"enabled": False}},
     "rabbitmq.existingSecret is needed when rabbitmq.enabled is false: name a Secret that holds "
     "the broker's address, amqps://USER:PASSWORD@HOST:5671/VHOST, under the key "
     "rabbitmq.existingSecretKey."),
    ({"rabbitmq": {"existingSecret": "mine"}},
     "rabbitmq.existingSecret names a broker of yours, but rabbitmq.enabled starts the built-in "
     "one: set rabbitmq.enabled to false, or use rabbitmq.auth.existingSecret for the password of "
     "the built-in one."),
    ({"rabbitmq": {"enabled": False, "existingSecret": "m", "auth": {"existingSecret": "n"}}},
     "rabbitmq.auth.existingSecret is for the built-in broker, and rabbitmq.enabled is false: name "
     "the Secret of your own broker in rabbitmq.existingSecret."),
    ({"ingress": {"enabled": True}},
     "ingress.hosts is needed when ingress.enabled is true: name at least one host, for without "
     "one the console would answer to every name that leads to the ingress controller."),
    ({"ingress": {"enabled": True, "hosts": ["a.example"], "tls": [{"hosts": ["b.example"]}]}},
     "ingress.tls names the host b.example, which ingress.hosts does not: add it there or remove "
     "it here."),
    ({"api": {"service": {"nodePort": 30800}}},
     "api.service.nodePort is for api.service.type NodePort, not ClusterIP: change the type or "
     "remove the port."),
    ({"api": {"persistence": {"enabled": False, "existingClaim": "mine"}}},
     "api.persistence.existingClaim is given but api.persistence.enabled is false, so the claim "
     "would not be used: set enabled to true or remove the claim."),
    *(({part: {"serviceAccount": {"create": False}}},
       f"{part}.serviceAccount.name is needed when {part}.serviceAccount.create is false: name a "
       "ServiceAccount of this namespace.") for part in ("api", "operator", "rabbitmq")),
    ({"quickstart": {"enabled": True, "model": {"repo": ""}}},
     "quickstart.model needs repo, a repository of the Hugging Face hub, or spec, a whole "
     "CaptionModel spec."),
]  # fmt: skip

SHAPES: list[tuple[dict[str, Any], str]] = [
    ({"apii": {}}, "additional properties 'apii' not allowed"),
    ({"api": {"replica": 1}}, "at '/api': additional properties 'replica' not allowed"),
    ({"operator": {"replicas": 2}}, "at '/operator': additional properties 'replicas' not allowed"),
    ({"rabbitmq": {"auth": {"password": "x"}}},
     "at '/rabbitmq/auth': additional properties 'password' not allowed"),
    ({"crds": {"keeep": True}}, "at '/crds': additional properties 'keeep' not allowed"),
    ({"image": {"digest": "1234"}}, "at '/image/digest': '1234' does not match pattern"),
    ({"image": {"pullPolicy": "Sometimes"}},
     "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"),
    ({"imagePullSecrets": ["mine"]}, "at '/imagePullSecrets/0': got string, want object"),
    ({"api": {"replicas": 0}}, "at '/api/replicas': minimum: got 0, want 1"),
    ({"api": {"logLevel": "loud"}},
     "at '/api/logLevel': value must be one of 'debug', 'info', 'warning', 'error'"),
    ({"api": {"service": {"port": 70000}}},
     "at '/api/service/port': maximum: got 70,000, want 65,535"),
    ({"api": {"persistence": {"size": "big"}}}, "at '/api/persistence/size': 'big' does not match"),
    ({"fleet": "Not A Name"}, "at '/fleet': 'Not A Name' does not match pattern"),
    ({"ingress": {"path": "captions"}},
     "at '/ingress/path': 'captions' does not match pattern '^/'"),
    ({"monitoring": {"serviceMonitor": {"enabled": "maybe"}}},
     "at '/monitoring/serviceMonitor/enabled': value must be one of 'auto', true, false"),
    ({"quickstart": {"model": {"name": "x" * 41}}}, "at '/quickstart/model/name': 'xxx"),
    ({"uninstall": {"deadlineSeconds": 0}},
     "at '/uninstall/deadlineSeconds': minimum: got 0, want 1"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "sentence"), COMBINATIONS)
def test_combinations_that_cannot_work_are_refused_with_a_sentence(
    values: dict[str, Any], sentence: str, helm: Helm
) -> None:
    assert sentence in helm.refusal(values)


@pytest.mark.parametrize(("values", "words"), SHAPES)
def test_unknown_and_wrong_values_are_refused_by_their_path(
    values: dict[str, Any], words: str, helm: Helm
) -> None:
    assert words in helm.refusal(values)


def test_a_namespace_too_long_for_a_fleet_is_refused(helm: Helm) -> None:
    namespace = "n" * 41
    said = helm.refusal({}, "--namespace", namespace)
    assert f"the namespace {namespace} has 41 characters" in said
    assert "set fleet to a shorter name" in said
    env = helm.template({"fleet": "short"}, namespace=namespace).env("captionfleet-api")
    assert env["CAPTIONFLEET_FLEET"]["value"] == "short"


def test_a_kubernetes_too_old_for_the_rules_is_refused(helm: Helm) -> None:
    said = helm.refusal({}, "--kube-version", "1.28.0")
    assert "chart requires kubeVersion: >=1.29.0-0" in said
