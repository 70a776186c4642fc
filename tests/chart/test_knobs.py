"""Every value lands where people expect it."""

from typing import Any

import pytest
from tests.chart.helm import Document, Helm, Rendered

SERVER, BROKER = "captionfleet/captionfleet", "rabbitmq:4.3"
COMPONENTS = ("api", "operator", "rabbitmq")
DIGEST = f"sha256:{'0' * 64}"
TOLERATION = {"key": "gpu", "operator": "Exists"}
AFFINITY: dict[str, Any] = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
KNOBS: dict[str, Any] = {
    "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "9Gi"}},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [TOLERATION],
    "affinity": AFFINITY,
    "topologySpreadConstraints": [SPREAD],
    "priorityClassName": "high",
    "terminationGracePeriodSeconds": 7,
}


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("knob", KNOBS)
def test_knobs_of_pods_land_in_the_pod(component: str, knob: str, helm: Helm) -> None:
    rendered = helm.template({component: {knob: KNOBS[knob]}})
    spec = rendered.pod(f"captionfleet-{component}")["spec"]
    place = spec["containers"][0] if knob == "resources" else spec
    assert _within(KNOBS[knob], place[knob])


@pytest.mark.parametrize("component", COMPONENTS)
def test_labels_annotations_and_extras_land_in_the_pod(component: str, helm: Helm) -> None:
    extras: dict[str, Any] = {
        "podLabels": {"team": "captions"},
        "podAnnotations": {"note": "mine"},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    }
    pod = helm.template({component: extras}).pod(f"captionfleet-{component}")
    [container] = pod["spec"]["containers"]
    assert pod["metadata"]["labels"]["team"] == "captions"
    assert pod["metadata"]["annotations"]["note"] == "mine"
    assert extras["extraEnv"][0] in container["env"]
    assert extras["extraVolumes"][0] in pod["spec"]["volumes"]
    assert extras["extraVolumeMounts"][0] in container["volumeMounts"]


@pytest.mark.parametrize("component", COMPONENTS)
def test_service_accounts_can_be_brought_or_annotated(component: str, helm: Helm) -> None:
    brought = helm.template({component: {"serviceAccount": {"create": False, "name": "mine"}}})
    pod = f"captionfleet-{component}"
    assert brought.pod(pod)["spec"]["serviceAccountName"] == "mine"
    assert pod not in [each["metadata"]["name"] for each in brought.of("ServiceAccount")]

    annotated = helm.template({component: {"serviceAccount": {"annotations": {"a": "b"}}}})
    assert annotated.one("ServiceAccount", pod)["metadata"]["annotations"] == {"a": "b"}


def test_taking_code_can_be_switched_off_with_the_right_to_keep_it(helm: Helm) -> None:
    for enabled in (True, False):
        rendered = helm.template({"customCode": {"enabled": enabled}})
        [container] = rendered.pod("captionfleet-api")["spec"]["containers"]
        setting = {"name": "CAPTIONFLEET_CUSTOM_CODE", "value": str(enabled).lower()}
        assert setting in container["env"]
        rules = rendered.one("Role", "captionfleet-api")["rules"]
        assert any("configmaps" in rule["resources"] for rule in rules) is enabled


def test_roles_follow_a_service_account_that_was_brought(helm: Helm) -> None:
    rendered = helm.template({"api": {"serviceAccount": {"create": False, "name": "mine"}}})
    [subject] = rendered.one("RoleBinding", "captionfleet-api")["subjects"]
    assert subject["name"] == "mine"
    assert not helm.template({"rbac": {"create": False}, "uninstall": {"enabled": False}}).of(
        "Role"
    )


@pytest.mark.parametrize(
    ("values", "images"),
    [
        ({}, (f"{SERVER}:0.1.0", f"{SERVER}:0.1.0", BROKER)),
        ({"image": {"registry": "r.example", "tag": "2"}},
         (f"r.example/{SERVER}:2", f"r.example/{SERVER}:2", BROKER)),
        ({"api": {"image": {"digest": DIGEST}}},
         (f"{SERVER}@{DIGEST}", f"{SERVER}:0.1.0", BROKER)),
        ({"global": {"imageRegistry": "g.example"}, "image": {"registry": "r.example"}},
         (f"g.example/{SERVER}:0.1.0", f"g.example/{SERVER}:0.1.0", f"g.example/{BROKER}")),
    ],
)  # fmt: skip
def test_images_come_from_where_they_are_said_to(
    values: dict[str, Any], images: tuple[str, ...], helm: Helm
) -> None:
    rendered = helm.template(values)
    pods = [rendered.pod(f"captionfleet-{component}") for component in COMPONENTS]
    assert tuple(pod["spec"]["containers"][0]["image"] for pod in pods) == images


@pytest.mark.parametrize(("given", "told"), [("json", "json"), (None, "text")])
def test_a_release_from_before_the_log_format_goes_on_as_text(
    given: str | None, told: str, helm: Helm
) -> None:
    rendered = helm.template({"logFormat": given})  # None leaves it out, as --reuse-values does
    for program in ("api", "operator", "uninstall"):
        env = rendered.env(f"captionfleet-{program}")
        assert env["CAPTIONFLEET_LOG_FORMAT"]["value"] == told


def test_hooks_use_the_operators_image(helm: Helm) -> None:
    rendered = helm.template({"operator": {"image": {"repository": "mine", "pullPolicy": "Never"}}})
    for pod in ("captionfleet-operator", "captionfleet-uninstall", "captionfleet-test"):
        [container] = rendered.pod(pod)["spec"]["containers"]
        assert (container["image"], container["imagePullPolicy"]) == ("mine:0.1.0", "Never")


def test_pull_secrets_reach_every_pod_and_the_workers(helm: Helm) -> None:
    rendered = helm.template(
        {
            "imagePullSecrets": [{"name": "one"}],
            "global": {"imagePullSecrets": [{"name": "two"}]},
            "quickstart": {"enabled": True},
        }
    )
    for name, pod in rendered.pods():
        assert pod["spec"]["imagePullSecrets"] == [{"name": "two"}, {"name": "one"}], name
    env = rendered.env("captionfleet-operator")
    assert env["CAPTIONFLEET_WORKER_PULL_SECRETS"]["value"] == "two,one"


def test_common_labels_are_on_every_object_and_pod(helm: Helm) -> None:
    rendered = helm.template({"commonLabels": {"team": "captions"}, "crds": {"enabled": False}})
    labeled = [*rendered.documents, *(pod for _, pod in rendered.pods())]
    assert all(each["metadata"]["labels"]["team"] == "captions" for each in labeled)


def test_names_can_be_chosen(helm: Helm) -> None:
    values = {"crds": {"enabled": False}}
    for given, start in (
        ({"nameOverride": "pics"}, "r-pics-"),
        ({"fullnameOverride": "pics"}, "pics-"),
        ({}, "r-captionfleet-"),
    ):
        rendered = helm.template({**values, **given}, release="r")
        assert all(each["metadata"]["name"].startswith(start) for each in rendered.documents)


def test_services_can_be_opened(helm: Helm) -> None:
    opened = {"type": "LoadBalancer", "annotations": {"a": "b"}}
    rendered = helm.template({"api": {"service": opened}, "rabbitmq": {"service": opened}})
    for part in ("api", "rabbitmq"):
        service = rendered.one("Service", f"captionfleet-{part}")
        assert service["spec"]["type"] == "LoadBalancer"
        assert service["metadata"]["annotations"] == {"a": "b"}
    # Nobody outside shall read the metrics.
    ports = rendered.one("Service", "captionfleet-rabbitmq")["spec"]["ports"]
    assert [port["name"] for port in ports] == ["amqp"]


def test_the_api_can_be_reached_on_a_port_of_the_nodes(helm: Helm) -> None:
    service = {"type": "NodePort", "nodePort": 30800, "port": 80}
    rendered = helm.template({"api": {"service": service}})
    [port] = rendered.one("Service", "captionfleet-api")["spec"]["ports"]
    assert port == {"name": "http", "port": 80, "targetPort": "http", "nodePort": 30800}


def test_volumes_are_as_wished(helm: Helm) -> None:
    wish = {"size": "1Gi", "storageClassName": "fast", "accessModes": ["ReadWriteMany"]}
    rendered = helm.template(
        {
            "api": {"persistence": wish},
            "rabbitmq": {"persistence": {**wish, "annotations": {"a": "b"}}},
        }
    )
    claim = rendered.one("PersistentVolumeClaim", "captionfleet-api-data")
    [template] = rendered.one("StatefulSet", "captionfleet-rabbitmq")["spec"][
        "volumeClaimTemplates"
    ]
    for each in (claim, template):
        assert each["spec"] == {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "fast",
            "resources": {"requests": {"storage": "1Gi"}},
        }
    assert template["metadata"]["annotations"] == {"a": "b"}


def test_an_existing_claim_is_used(helm: Helm) -> None:
    rendered = helm.template({"api": {"persistence": {"existingClaim": "mine"}}})
    assert _volume(rendered, "api", "data") == {"persistentVolumeClaim": {"claimName": "mine"}}
    assert not rendered.of("PersistentVolumeClaim")


def test_volumes_can_be_left_out(helm: Helm) -> None:
    off = {"persistence": {"enabled": False}}
    rendered = helm.template({"api": off, "rabbitmq": off})
    assert _volume(rendered, "api", "data") == {"emptyDir": {}}
    assert _volume(rendered, "rabbitmq", "data") == {"emptyDir": {}}
    assert (
        "volumeClaimTemplates" not in rendered.one("StatefulSet", "captionfleet-rabbitmq")["spec"]
    )


def test_the_broker_takes_further_configuration(helm: Helm) -> None:
    def config(values: dict[str, Any]) -> tuple[str, str]:
        rendered = helm.template({"rabbitmq": values})
        pod = rendered.pod("captionfleet-rabbitmq")
        data = rendered.one("ConfigMap", "captionfleet-rabbitmq")["data"]
        return data["rabbitmq.conf"], pod["metadata"]["annotations"]["checksum/config"]

    plain, with_more = config({}), config({"extraConfig": "heartbeat = 30\n"})
    assert with_more[0].endswith("heartbeat = 30\n")
    assert plain[1] != with_more[1], "the pod must start anew"


def test_platforms_that_choose_user_ids_are_let(helm: Helm) -> None:
    rendered = helm.template({"api": {"podSecurityContext": {"runAsUser": None, "fsGroup": None}}})
    context = rendered.pod("captionfleet-api")["spec"]["securityContext"]
    assert "runAsUser" not in context
    assert "fsGroup" not in context
    assert context["runAsNonRoot"] is True


def _volume(rendered: Rendered, component: str, name: str) -> Document:
    volumes = rendered.pod(f"captionfleet-{component}")["spec"]["volumes"]
    [found] = [each for each in volumes if each["name"] == name]
    return {key: value for key, value in found.items() if key != "name"}


def _within(wish: Any, found: Any) -> bool:
    """Maps are merged with the chart's own, everything else replaces it."""
    if isinstance(wish, dict):
        return all(key in found and _within(value, found[key]) for key, value in wish.items())
    return bool(wish == found)
