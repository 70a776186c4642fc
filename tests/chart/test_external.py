"""A broker, a database and secrets of one's own; an Ingress; Prometheus; a first model."""

import json
from typing import Any

from tests.chart.helm import Helm, Rendered

OWN_BROKER = {"rabbitmq": {"enabled": False, "existingSecret": "mine", "existingSecretKey": "amqp"}}


def test_a_broker_of_ones_own_replaces_the_built_in_one(helm: Helm) -> None:
    rendered = helm.template(OWN_BROKER)
    for part in ("api", "operator", "uninstall"):
        reference = rendered.env(f"captionfleet-{part}")["RABBITMQ_URL"]["valueFrom"][
            "secretKeyRef"
        ]
        assert (reference["name"], reference["key"]) == ("mine", "amqp")
    env = rendered.env("captionfleet-operator")
    assert env["CAPTIONFLEET_BROKER_SECRET"]["value"] == "mine/amqp"
    assert not [each for each in rendered.documents if "rabbitmq" in each["metadata"]["name"]]
    assert [each["metadata"]["name"] for each in rendered.of("Secret")] == ["captionfleet-token"]


def test_the_built_in_broker_takes_a_secret_of_ones_own(helm: Helm) -> None:
    rendered = helm.template({"rabbitmq": {"auth": {"existingSecret": "mine"}}})
    [start] = rendered.pod("captionfleet-rabbitmq")["spec"]["initContainers"]
    keys = {each["valueFrom"]["secretKeyRef"]["key"] for each in start["env"]}
    names = {each["valueFrom"]["secretKeyRef"]["name"] for each in start["env"]}
    assert (names, keys) == ({"mine"}, {"username", "password"})
    assert _secret(rendered, "api", "RABBITMQ_URL") == {"name": "mine", "key": "url"}
    assert [each["metadata"]["name"] for each in rendered.of("Secret")] == ["captionfleet-token"]


def test_a_postgresql_of_ones_own_replaces_sqlite(helm: Helm, zero_values: Rendered) -> None:
    assert "CAPTIONFLEET_DATABASE_URL" not in zero_values.env("captionfleet-api")
    rendered = helm.template({"database": {"existingSecret": "pg", "existingSecretKey": "uri"}})
    assert _secret(rendered, "api", "CAPTIONFLEET_DATABASE_URL") == {"name": "pg", "key": "uri"}


def test_a_token_of_ones_own_is_used_everywhere(helm: Helm) -> None:
    rendered = helm.template(
        {
            "auth": {"existingSecret": "mine", "existingSecretKey": "admin"},
            "monitoring": {"serviceMonitor": {"enabled": True}},
        }
    )
    mine = {"name": "mine", "key": "admin"}
    assert _secret(rendered, "api", "CAPTIONFLEET_TOKEN") == mine
    assert _secret(rendered, "test", "CAPTIONFLEET_TOKEN") == mine
    [endpoint] = rendered.one("ServiceMonitor", "captionfleet-api")["spec"]["endpoints"]
    assert endpoint["authorization"] == {"type": "Bearer", "credentials": mine}
    assert [each["metadata"]["name"] for each in rendered.of("Secret")] == ["captionfleet-broker"]


def test_an_ingress_leads_to_the_api(helm: Helm) -> None:
    tls = [{"secretName": "cert", "hosts": ["a.example"]}]
    rendered = helm.template(
        {
            "ingress": {
                "enabled": True, "className": "traefik", "annotations": {"a": "b"},
                "hosts": ["a.example"], "tls": tls,
            }
        }
    )  # fmt: skip
    ingress = rendered.one("Ingress", "captionfleet-api")
    assert ingress["metadata"]["annotations"] == {"a": "b"}
    assert (ingress["spec"]["ingressClassName"], ingress["spec"]["tls"]) == ("traefik", tls)
    [rule] = ingress["spec"]["rules"]
    [path] = rule["http"]["paths"]
    assert (rule["host"], path["path"], path["pathType"]) == ("a.example", "/", "Prefix")
    assert path["backend"]["service"] == {"name": "captionfleet-api", "port": {"name": "http"}}
    # Or cookies would not be Secure behind a proxy that ends TLS.
    assert rendered.env("captionfleet-api")["FORWARDED_ALLOW_IPS"]["value"] == "*"


def test_a_proxy_is_believed_only_where_there_is_an_ingress(zero_values: Rendered) -> None:
    assert "FORWARDED_ALLOW_IPS" not in zero_values.env("captionfleet-api")


def test_service_monitors_are_made_where_the_cluster_knows_them(helm: Helm) -> None:
    known = ("--api-versions", "monitoring.coreos.com/v1")
    monitors = helm.template({}, *known).of("ServiceMonitor")
    assert len(monitors) == 3
    assert not helm.template().of("ServiceMonitor")
    never = {"monitoring": {"serviceMonitor": {"enabled": False}}}
    assert not helm.template(never, *known).of("ServiceMonitor")


def test_service_monitors_scrape_ports_that_services_have(helm: Helm) -> None:
    labels = {"release": "kube-prometheus-stack"}
    rendered = helm.template(
        {"monitoring": {"serviceMonitor": {"enabled": True, "labels": labels, "interval": "5s"}}}
    )
    services = rendered.of("Service")
    for monitor in rendered.of("ServiceMonitor"):
        assert labels.items() <= monitor["metadata"]["labels"].items()
        selector = monitor["spec"]["selector"]["matchLabels"]
        [found] = [s for s in services if selector.items() <= s["metadata"]["labels"].items()]
        [endpoint] = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in found["spec"]["ports"]}
        assert (endpoint["path"], endpoint["interval"]) == ("/metrics", "5s")


def test_quickstart_makes_a_pool_and_a_model_after_the_install(helm: Helm) -> None:
    rendered = helm.template({"quickstart": {"enabled": True}})
    job = rendered.one("Job", "captionfleet-quickstart")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-install"
    assert _manifests(rendered) == {
        "CaptionWorkerPool cpu": {"device": {"type": "CPU"}},
        "CaptionModel blip-base": {
            "source": {"huggingFace": {"repo": "Salesforce/blip-image-captioning-base"}}
        },
    }


def test_quickstart_takes_another_model(helm: Helm) -> None:
    spec = {"source": {"volume": {"claimName": "models", "path": "shapes"}}}
    model = {"name": "shapes", "spec": spec}
    rendered = helm.template({"quickstart": {"enabled": True, "model": model}})
    assert _manifests(rendered)["CaptionModel shapes"] == spec
    assert rendered.env("captionfleet-test")["MODEL"]["value"] == "shapes"


def test_helm_test_asks_any_model_unless_one_is_named(helm: Helm, zero_values: Rendered) -> None:
    assert zero_values.env("captionfleet-test")["MODEL"]["value"] == ""
    named = helm.template({"helmTest": {"model": "mine", "seconds": 10}})
    env = named.env("captionfleet-test")
    assert (env["MODEL"]["value"], env["SECONDS_TO_WAIT"]["value"]) == ("mine", "10")


def test_the_uninstall_hook_ends_in_time(zero_values: Rendered) -> None:
    job = zero_values.one("Job", "captionfleet-uninstall")
    assert job["spec"]["activeDeadlineSeconds"] == 90
    hooks = [each for each in zero_values.documents if _hook(each) == "pre-delete"]
    assert [each["kind"] for each in hooks] == ["ServiceAccount", "Role", "RoleBinding", "Job"]
    weights = [int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) for each in hooks]
    assert weights == sorted(set(weights)), "the account and its rights come first"


def test_no_hook_leaves_anything_behind_and_failed_ones_say_why(everything: Rendered) -> None:
    """An uninstall does not know what hooks made."""
    hooks = [each["metadata"]["annotations"] for each in everything.documents if _hook(each)]
    assert len(hooks) == 6
    for each in hooks:
        policy = "before-hook-creation,hook-succeeded,hook-failed"
        assert each["helm.sh/hook-delete-policy"] == policy
        assert "hook-failed" in each["helm.sh/hook-output-log-policy"]


def test_the_uninstall_hook_can_do_without_the_brokers_secret(zero_values: Rendered) -> None:
    """Somebody may have deleted it, and the uninstall must not wait for it for ever."""
    assert _secret(zero_values, "uninstall", "RABBITMQ_URL")["optional"] is True


def _secret(rendered: Rendered, part: str, variable: str) -> dict[str, Any]:
    found = rendered.env(f"captionfleet-{part}")[variable]["valueFrom"]["secretKeyRef"]
    return dict(found)


def _manifests(rendered: Rendered) -> dict[str, Any]:
    text = rendered.env("captionfleet-quickstart")["MANIFESTS"]["value"]
    return {f"{each['kind']} {each['metadata']['name']}": each["spec"] for each in json.loads(text)}


def _hook(document: dict[str, Any]) -> str:
    return str(document["metadata"].get("annotations", {}).get("helm.sh/hook", ""))
