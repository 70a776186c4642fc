"""Real installs on a real API server, in namespaces that enforce restricted pods.

There is no node, so pods stay Pending; everything else is as on any cluster.
"""

import base64

import pytest
from tests.chart.helm import CHART, Helm
from tests.cluster.clusters import Cluster, CommandFailed
from tests.conftest import eventually

from captionfleet.ids import new_nonce

FIRST = [
    {"apiVersion": "captionfleet.io/v1alpha1", "kind": "CaptionWorkerPool",
     "metadata": {"name": "cpu"}, "spec": {"device": {"type": "CPU"}}},
    {"apiVersion": "captionfleet.io/v1alpha1", "kind": "CaptionModel",
     "metadata": {"name": "blip"}, "spec": {"source": {"huggingFace": {"repo": "a/b"}}}},
]  # fmt: skip
LEFT = "captioning,persistentvolumeclaims"
OURS = (
    "deployments,statefulsets,jobs,pods,services,configmaps,secrets,serviceaccounts,roles,"
    "rolebindings,networkpolicies"
)


@pytest.fixture
def place(bare_cluster: Cluster) -> str:
    return _place(bare_cluster)


async def test_one_command_installs_and_another_leaves_only_what_is_ours(
    bare_cluster: Cluster, place: str, helm: Helm
) -> None:
    bare_cluster.kubectl("delete", "crd", "--all")
    notes = helm.on(bare_cluster, "install", "captionfleet", str(CHART), namespace=place)
    assert f"installed in the namespace {place}" in notes
    for pod in ("captionfleet-api", "captionfleet-operator", "captionfleet-rabbitmq-0"):
        await eventually(lambda pod=pod: pod in _pods(bare_cluster, place), what=pod)
    for each in FIRST:
        bare_cluster.apply(each, "--namespace", place)

    said = helm.on(bare_cluster, "uninstall", "captionfleet", "--no-hooks", namespace=place)

    assert "[PersistentVolumeClaim] captionfleet-api-data" in said
    assert "[CustomResourceDefinition] captionmodels.captionfleet.io" in said
    await eventually(lambda: not _names(bare_cluster, place, OURS), what="ours are gone")
    assert _names(bare_cluster, place, LEFT) == {
        "captionmodel.captionfleet.io/blip",
        "captionworkerpool.captionfleet.io/cpu",
        "persistentvolumeclaim/captionfleet-api-data",
        "persistentvolumeclaim/data-captionfleet-rabbitmq-0",
    }
    # And it installs again on what was left.
    helm.on(bare_cluster, "install", "captionfleet", str(CHART), namespace=place)


def test_the_server_takes_every_object_without_a_warning(
    bare_cluster: Cluster, place: str, helm: Helm
) -> None:
    values = {
        "quickstart": {"enabled": True},
        "ingress": {"enabled": True, "hosts": ["captions.example"]},
        "rbac": {"aggregate": True},
        "fullnameOverride": "other",
    }
    rendered = helm.template(values, namespace=place).documents
    objects = [each for each in rendered if each["kind"] != "CustomResourceDefinition"]
    bare_cluster.apply(objects, "--namespace", place, "--dry-run=server", "--warnings-as-errors")


def test_helm_finds_nothing_wrong_with_a_dry_run_on_the_server(
    bare_cluster: Cluster, place: str, helm: Helm
) -> None:
    dry = ["install", "captionfleet", str(CHART), "--dry-run=server"]
    said = helm.on(bare_cluster, *dry, namespace=place)
    assert "STATUS: pending-install" in said
    assert not _names(bare_cluster, place, OURS)


def test_an_upgrade_keeps_token_and_password(bare_cluster: Cluster, place: str, helm: Helm) -> None:
    helm.on(bare_cluster, "install", "captionfleet", str(CHART), namespace=place)
    before = _secrets(bare_cluster, place)
    louder = {"operator": {"logLevel": "debug"}}
    helm.on(bare_cluster, "upgrade", "captionfleet", str(CHART), namespace=place, values=louder)
    assert _secrets(bare_cluster, place) == before
    assert {name: len(value) for name, value in before.items()} == {
        "captionfleet-token/token": 40,
        "captionfleet-broker/username": len("captionfleet"),
        "captionfleet-broker/password": 40,
        "captionfleet-broker/url": 40 + len(f"amqp://captionfleet:@captionfleet-rabbitmq.{place}.svc:5672/"),
    }  # fmt: skip


def test_a_second_release_leaves_the_types_of_the_first_alone(
    bare_cluster: Cluster, place: str, helm: Helm
) -> None:
    helm.on(bare_cluster, "install", "captionfleet", str(CHART), namespace=place)
    owner = _owner_of_types(bare_cluster)
    elsewhere = _place(bare_cluster)
    notes = helm.on(bare_cluster, "install", "captionfleet", str(CHART), namespace=elsewhere)
    assert "was there, brought by" in notes
    assert _owner_of_types(bare_cluster) == owner


def test_types_that_kubectl_brought_are_left_alone(
    control_plane: Cluster, namespace: str, helm: Helm
) -> None:
    notes = helm.on(control_plane, "install", "captionfleet", str(CHART), namespace=namespace)
    assert "brought by something else than Helm, and is left as it is" in notes


def test_notes_show_a_command_that_reads_the_token(
    bare_cluster: Cluster, place: str, helm: Helm
) -> None:
    notes = helm.on(bare_cluster, "install", "captionfleet", str(CHART), namespace=place)
    _, _, rest = notes.partition("--output go-template='")
    template, _, _ = rest.partition("'")
    secret = ["secret", "captionfleet-token", "-n", place, "--output", f"go-template={template}"]
    read = bare_cluster.kubectl("get", *secret)
    assert read == _secrets(bare_cluster, place)["captionfleet-token/token"]


def test_an_uninstall_whose_hook_cannot_run_ends_and_can_be_forced(
    bare_cluster: Cluster, place: str, helm: Helm
) -> None:
    hasty = {"uninstall": {"deadlineSeconds": 2}}
    helm.on(bare_cluster, "install", "captionfleet", str(CHART), namespace=place, values=hasty)

    with pytest.raises(CommandFailed) as failed:
        helm.on(bare_cluster, "uninstall", "captionfleet", namespace=place)

    assert "job captionfleet-uninstall failed: DeadlineExceeded" in failed.value.stderr
    assert not [name for name in _names(bare_cluster, place, OURS) if "uninstall" in name]
    helm.on(bare_cluster, "uninstall", "captionfleet", "--no-hooks", namespace=place)


def _place(cluster: Cluster) -> str:
    """A fresh namespace that enforces restricted pods and warns of them."""
    name = f"chart-{new_nonce()}"
    labels = {f"pod-security.kubernetes.io/{what}": "restricted" for what in ("enforce", "warn")}
    metadata = {"name": name, "labels": labels}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    return name


def _pods(cluster: Cluster, namespace: str) -> str:
    return cluster.kubectl("get", "pods", "-n", namespace, "-o", "name")


def _names(cluster: Cluster, namespace: str, kinds: str) -> set[str]:
    """All objects of these kinds but those that every namespace has."""
    names = cluster.kubectl("get", kinds, "-n", namespace, "-o", "name").split()
    return set(names) - {"serviceaccount/default", "configmap/kube-root-ca.crt"}


def _secrets(cluster: Cluster, namespace: str) -> dict[str, str]:
    """The release's own; Helm keeps its records as Secrets as well."""
    listed = cluster.get("secrets", "-n", namespace, "-l", "app.kubernetes.io/name")
    return {
        f"{each['metadata']['name']}/{key}": base64.b64decode(value).decode()
        for each in listed["items"]
        for key, value in each["data"].items()
    }


def _owner_of_types(cluster: Cluster) -> set[tuple[str, str]]:
    crds = cluster.get("crd")["items"]
    notes = [each["metadata"]["annotations"] for each in crds]
    return {(n["meta.helm.sh/release-name"], n["meta.helm.sh/release-namespace"]) for n in notes}
