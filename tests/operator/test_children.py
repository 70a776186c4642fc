"""What a pool is made of on Kubernetes, as the manifests say."""

import pytest
from tests.operator.clusters import container, made, pod_spec

from captionfleet_operator.cluster.naming import child_name, pod_labels, selector_text


def environment(**spec: object) -> dict[str, object]:
    return {
        each["name"]: each.get("value", each.get("valueFrom")) for each in container(**spec)["env"]
    }


def test_a_plain_pool_has_a_deployment_and_what_guards_and_observes_it() -> None:
    assert {kind for kind, _ in made(monitored=True)} == {
        "Deployment", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy", "Service",
        "ServiceMonitor",
    }  # fmt: skip
    assert {name for _, name in made()} == {"capw-cpu"}


def test_every_child_belongs_to_its_pool_and_to_nobody_else() -> None:
    for child in made(monitored=True).values():
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == (
            "CaptionWorkerPool", "uid-of-cpu", True,
        )  # fmt: skip
        assert (
            child["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "captionfleet-operator"
        )
        assert "finalizers" not in child["metadata"]


def test_the_same_wish_has_the_same_digest_and_another_has_another() -> None:
    digests = [
        made(size)[("Deployment", "capw-cpu")]["metadata"]["annotations"]["captionfleet.io/applied"]
        for size in (1, 1, 2)
    ]

    assert digests[0] == digests[1] != digests[2]


def test_worker_pods_obey_the_restricted_standard() -> None:
    pod, worker = pod_spec(), container()

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert worker["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False


def test_a_leaving_worker_has_longer_than_its_drain_limit() -> None:
    assert pod_spec(drain={"timeoutSeconds": 100})["terminationGracePeriodSeconds"] == 130
    assert environment(drain={"timeoutSeconds": 100})["CAPTIONFLEET_DRAIN_SECONDS"] == "100"


def test_passwords_are_references_and_never_text() -> None:
    seen = environment(
        hub={"tokenSecretRef": {"name": "hub", "key": "token"}},
        broker={"secretRef": {"name": "other", "key": "url"}},
    )

    assert seen["HF_TOKEN"] == {"secretKeyRef": {"name": "hub", "key": "token"}}
    assert seen["RABBITMQ_URL"] == {"secretKeyRef": {"name": "other", "key": "url"}}
    assert environment()["RABBITMQ_URL"] == {
        "secretKeyRef": {"name": "captionfleet-broker", "key": "url"}
    }
    assert "u:p@broker" not in str(made(monitored=True))


def test_the_pools_own_variables_never_change_who_a_worker_is() -> None:
    seen = environment(env={"CAPTIONFLEET_POOL": "other", "RABBITMQ_URL": "x", "MINE": "1"})

    assert (seen["CAPTIONFLEET_POOL"], seen["MINE"]) == ("cpu", "1")
    assert isinstance(seen["RABBITMQ_URL"], dict)
    assert seen["CAPTIONFLEET_WORKER"] == {
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}
    }


@pytest.mark.parametrize(
    ("device", "limits"),
    [
        ({"type": "GPU"}, {"nvidia.com/gpu": "1"}),
        ({"type": "GPU", "resourceName": "amd.com/gpu", "count": 2}, {"amd.com/gpu": "2"}),
    ],
)
def test_a_gpu_worker_asks_for_its_gpus(device: dict[str, object], limits: dict[str, str]) -> None:
    assert container(device=device)["resources"] == {"limits": limits}


def test_scheduling_is_passed_on_as_it_is_written() -> None:
    taint = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    pod = pod_spec(
        scheduling={
            "nodeSelector": {"gpu": "yes"},
            "tolerations": [taint],
            "priorityClassName": "high",
            "runtimeClassName": "nvidia",
        }
    )

    assert pod["nodeSelector"] == {"gpu": "yes"}
    assert pod["tolerations"] == [taint]
    assert (pod["priorityClassName"], pod["runtimeClassName"]) == ("high", "nvidia")
    assert "affinity" not in pod


def test_a_claim_for_the_cache_is_made_when_asked_for_and_not_named() -> None:
    cache = {"type": "PVC", "sizeLimit": "5Gi", "storageClassName": "fast"}
    claim = made(cache=cache)[("PersistentVolumeClaim", "capw-cpu-cache")]

    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "5Gi"}},
        "storageClassName": "fast",
    }
    assert ("PersistentVolumeClaim", "mine") not in made(cache={"type": "PVC", "claimName": "mine"})


@pytest.mark.parametrize(
    ("cache", "limit"),
    [
        ({"sizeLimit": "5Gi"}, str(5 * 2**30)),
        ({"type": "PVC", "sizeLimit": "5Gi"}, str(5 * 2**30)),
        ({"type": "PVC", "claimName": "mine", "sizeLimit": "5Gi"}, None),
        ({"type": "HostPath", "hostPath": "/cache"}, None),
    ],
)
def test_workers_know_how_much_of_their_cache_they_may_fill(
    cache: dict[str, object], limit: str | None
) -> None:
    seen = environment(cache=cache | {"highWatermarkPercent": 80})
    assert seen["CAPTIONFLEET_CACHE_WATERMARK"] == "80"
    assert seen.get("CAPTIONFLEET_CACHE_LIMIT") == limit


def test_claims_with_models_are_mounted_read_only_under_their_names() -> None:
    (mount,) = [
        each
        for each in container(volumes=[{"claimName": "models"}])["volumeMounts"]
        if each["mountPath"].startswith("/volumes")
    ]

    assert mount == {"name": "models-0", "mountPath": "/volumes/models", "readOnly": True}


def test_an_offline_pool_talks_to_name_servers_and_broker_only() -> None:
    offline = {"offline": True}
    kept = {"type": "HostPath", "hostPath": "/cache"}
    policy = made(hub=offline, cache=kept)[("NetworkPolicy", "capw-cpu")]["spec"]

    ports = [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 5673]
    assert [p["port"] for rule in policy["ingress"] for p in rule["ports"]] == [8001]


def test_what_a_pool_refuses_is_not_made() -> None:
    kinds = {
        kind
        for kind, _ in made(
            monitored=True, networkPolicy={"enabled": False}, monitoring={"serviceMonitor": False}
        )
    }

    assert not kinds & {"NetworkPolicy", "ServiceMonitor"}


def test_no_name_grows_too_long() -> None:
    longest = "p" * 40

    assert len(child_name(longest)) <= 52  # a Deployment's pods add 17 characters, 63 is the limit
    assert selector_text("cpu") == ("app.kubernetes.io/component=worker,captionfleet.io/pool=cpu")
    assert pod_labels(longest)["captionfleet.io/pool"] == longest
