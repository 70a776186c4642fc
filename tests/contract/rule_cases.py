"""Every CEL rule of both resources with a spec that it refuses and its nearest that it accepts.

Both doors are tried with these: an API server (test_crd_on_server.py) and a folder (test_rules.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from captionfleet.resources import API_VERSION
from captionfleet.resources.crd import crds

Spec = dict[str, Any]
HUB = {"huggingFace": {"repo": "owner/name"}}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CPU = {"device": {"type": "CPU"}}


@dataclass(frozen=True)
class Case:
    kind: str
    path: str
    """Where the rule stands; empty for the manifest itself."""
    sentence: str
    refused: Spec
    accepted: Spec
    refused_name: str = "refused"
    before: Spec | None = None
    """What is there already, for a rule about changes."""

    def __str__(self) -> str:
        return f"{self.path or self.kind}: {self.sentence}"


def manifest(kind: str, spec: Spec, name: str = "accepted") -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def model(path: str, sentence: str, refused: Spec, accepted: Spec, **more: Any) -> Case:
    base = {} if path == "spec.source" or not refused else {"source": HUB}
    return Case("CaptionModel", path, sentence, {**base, **refused}, {**base, **accepted}, **more)


def pool(path: str, sentence: str, refused: Spec, accepted: Spec, **more: Any) -> Case:
    if (before := more.get("before")) is not None:
        more["before"] = {**CPU, **before}
    refused, accepted = {**CPU, **refused}, {**CPU, **accepted}
    return Case("CaptionWorkerPool", path, sentence, refused, accepted, **more)


def files(*paths: str) -> Spec:
    each = [{"path": path, "content": "pass"} for path in paths]
    return {"custom": {"entrypoint": "mine:Mine", "files": each}}


CASES = [
    model(
        "",
        "metadata.name must not exceed 40 characters",
        {"displayName": "x"},
        {},
        refused_name="m" * 41,
    ),
    model("spec", "spec needs source (weights), custom (code) or both", {}, {"source": HUB}),
    model(
        "spec",
        "loader.trustRemoteCode runs the repository's code: name a huggingFace source whose"
        " revision is a commit of 40 hex digits",
        {"loader": {"trustRemoteCode": True}},
        {
            "source": {"huggingFace": {"repo": "owner/name", "revision": COMMIT}},
            "loader": {"trustRemoteCode": True},
        },
    ),
    model(
        "spec",
        "pipelineTag says how transformers asks, and custom code asks by itself: remove one of"
        " them",
        {"pipelineTag": "image-to-text", "custom": {"entrypoint": "mine:Mine"}},
        {"pipelineTag": "image-to-text"},
    ),
    model(
        "spec.source",
        "source takes at most one of huggingFace and volume: remove one of them",
        {"source": {**HUB, "volume": {"path": "x"}}},
        {"source": {"volume": {"path": "x"}}},
    ),
    model(
        "spec.source",
        "source is empty: name source.huggingFace.repo or source.volume.path",
        {"source": {}},
        {"source": HUB},
    ),
    model(
        "spec.source.huggingFace",
        "source.huggingFace.revision names a commit, tag or branch: remove the .. or the leading"
        " slash",
        {"source": {"huggingFace": {"repo": "owner/name", "revision": "../../own"}}},
        {"source": {"huggingFace": {"repo": "owner/name", "revision": "refs/pr/1"}}},
    ),
    model(
        "spec.source.volume",
        "source.volume.path must stay inside the claim: remove the .. from it",
        {"source": {"volume": {"claimName": "models", "path": "../other/blip"}}},
        {"source": {"volume": {"claimName": "models", "path": "blip..large"}}},
    ),
    model(
        "spec.custom",
        "custom takes at most one of files and configMapRef: remove one of them",
        {"custom": {**files("mine.py")["custom"], "configMapRef": {"name": "mine-code"}}},
        {"custom": {"entrypoint": "mine:Mine", "configMapRef": {"name": "mine-code"}}},
    ),
    model(
        "spec.custom",
        "custom.files paths are relative: remove the leading slash",
        files("/mine.py"),
        files("mine.py"),
    ),
    model(
        "spec.custom",
        "custom.files paths must not contain . or .. as a part",
        files("a/../mine.py"),
        files("a/mine..py"),
    ),
    model(
        "spec.custom",
        "custom.files names a path twice: every path must be unique",
        files("mine.py", "mine.py"),
        files("mine.py", "a/mine.py"),
    ),
    model(
        "spec.custom.kwargs",
        "keys must not exceed 253 characters",
        {"custom": {"entrypoint": "mine:Mine", "kwargs": {"k" * 254: "v"}}},
        {"custom": {"entrypoint": "mine:Mine", "kwargs": {"k" * 253: "v"}}},
    ),
    model(
        "spec.loader.processor",
        "keys must not exceed 253 characters",
        {"loader": {"processor": {"k" * 254: "1"}}},
        {"loader": {"processor": {"k" * 253: "1"}}},
    ),
    model(
        "spec.loader.chatTemplate",
        "keys must not exceed 253 characters",
        {"loader": {"chatTemplate": {"k" * 254: "1"}}},
        {"loader": {"chatTemplate": {"k" * 253: "1"}}},
    ),
    model(
        "spec.generation.extra",
        "keys must not exceed 253 characters",
        {"generation": {"extra": {"k" * 254: "1"}}},
        {"generation": {"extra": {"k" * 253: "1"}}},
    ),
    model(
        "spec.generation.extra",
        "generation.extra names what has a field of its own: set that one, such as maxNewTokens",
        {"generation": {"extra": {"num_beams": "3"}}},
        {"generation": {"extra": {"num_beam_groups": "3"}}},
    ),
    model(
        "spec.poolSelector.matchLabels",
        "keys must not exceed 317 characters",
        {"poolSelector": {"matchLabels": {"k" * 318: "v"}}},
        {"poolSelector": {"matchLabels": {"k" * 317: "v"}}},
    ),
    model(
        "spec.residency",
        "minCopies must not be above maxCopies",
        {"residency": {"minCopies": 5}},
        {"residency": {"minCopies": 4}},
    ),
    model(
        "spec.residency",
        "policy Pinned keeps copies loaded: set minCopies to 1 or more",
        {"residency": {"policy": "Pinned"}},
        {"residency": {"policy": "Pinned", "minCopies": 1}},
    ),
    model(
        "spec.residency",
        "idleUnloadSeconds must not be below minResidencySeconds",
        {"residency": {"idleUnloadSeconds": 59}},
        {"residency": {"idleUnloadSeconds": 60}},
    ),
    pool(
        "",
        "metadata.name must not exceed 40 characters",
        {},
        {},
        refused_name="p" * 41,
    ),
    pool(
        "spec",
        "replicas is decided by autoscaling: remove it, or set autoscaling.mode to Off or External",
        {"replicas": 2},
        {"replicas": 2, "autoscaling": {"mode": "External"}},
    ),
    pool(
        "spec",
        "replicas is needed when autoscaling.mode is Off or External",
        {"autoscaling": {"mode": "Off"}},
        {"autoscaling": {"mode": "Off"}, "replicas": 0},
    ),
    pool(
        "spec",
        "hub.offline needs a cache that lasts: set cache.type to PVC or HostPath",
        {"hub": {"offline": True}},
        {"hub": {"offline": True}, "cache": {"type": "PVC"}},
    ),
    pool(
        "spec",
        "rollout.maxSurge and rollout.maxUnavailable must not both be 0",
        {"rollout": {"maxSurge": 0}},
        {"rollout": {"maxSurge": 0, "maxUnavailable": 1}},
    ),
    pool(
        "spec.device",
        "device.resourceName names a kind of GPU: remove it, or set device.type to GPU",
        {"device": {"type": "CPU", "resourceName": "amd.com/gpu"}},
        {"device": {"type": "GPU", "resourceName": "amd.com/gpu"}},
    ),
    pool(
        "spec.device",
        "device.count counts GPUs: remove it, or set device.type to GPU",
        {"device": {"type": "CPU", "count": 2}},
        {"device": {"type": "GPU", "count": 2}},
    ),
    pool(
        "spec.modelSelector.matchLabels",
        "keys must not exceed 317 characters",
        {"modelSelector": {"matchLabels": {"k" * 318: "v"}}},
        {"modelSelector": {"matchLabels": {"k" * 317: "v"}}},
    ),
    pool(
        "spec.autoscaling",
        "minReplicas must not be above maxReplicas",
        {"autoscaling": {"minReplicas": 5}},
        {"autoscaling": {"minReplicas": 4}},
    ),
    pool(
        "spec.cache",
        "cache.type cannot be changed: make another pool",
        {"cache": {"type": "EmptyDir"}},
        {"cache": {"type": "PVC", "sizeLimit": "60Gi"}},
        before={"cache": {"type": "PVC"}},
        refused_name="changed",
    ),
    pool(
        "spec.cache",
        "cache.type HostPath needs cache.hostPath, a folder of the node",
        {"cache": {"type": "HostPath"}},
        {"cache": {"type": "HostPath", "hostPath": "/models"}},
    ),
    pool(
        "spec.cache",
        "cache.hostPath is for cache.type HostPath: remove it or change the type",
        {"cache": {"type": "PVC", "hostPath": "/models"}},
        {"cache": {"type": "PVC"}},
    ),
    pool(
        "spec.cache",
        "cache.claimName and cache.storageClassName are for cache.type PVC: remove them or change"
        " the type",
        {"cache": {"claimName": "models"}},
        {"cache": {"type": "PVC", "claimName": "models"}},
    ),
    pool(
        "spec.scheduling.nodeSelector",
        "keys must not exceed 317 characters",
        {"scheduling": {"nodeSelector": {"k" * 318: "v"}}},
        {"scheduling": {"nodeSelector": {"k" * 317: "v"}}},
    ),
    pool(
        "spec.resources.requests",
        "keys must not exceed 253 characters",
        {"resources": {"requests": {"k" * 254: "1"}}},
        {"resources": {"requests": {"k" * 253: "1"}}},
    ),
    pool(
        "spec.resources.limits",
        "keys must not exceed 253 characters",
        {"resources": {"limits": {"k" * 254: "1"}}},
        {"resources": {"limits": {"k" * 253: "1"}}},
    ),
    pool(
        "spec.env",
        "keys must not exceed 253 characters",
        {"env": {"K" * 254: "v"}},
        {"env": {"K" * 253: "v"}},
    ),
    pool(
        "spec.env",
        "keys are names of environment variables: letters, digits and _, no digit first",
        {"env": {"1ST": "v"}},
        {"env": {"_1ST": "v"}},
    ),
    pool(
        "spec.monitoring.labels",
        "keys must not exceed 317 characters",
        {"monitoring": {"labels": {"k" * 318: "v"}}},
        {"monitoring": {"labels": {"k" * 317: "v"}}},
    ),
]

# Values of a wrong type, with their place: neither door takes them for something they are not.
MISTYPED: list[tuple[str, Spec, str]] = [
    ("CaptionModel", {"source": HUB, "batching": {"maxBatchSize": "8"}}, "batching.maxBatchSize"),
    ("CaptionModel", {"source": HUB, "batching": {"maxBatchSize": 8.5}}, "batching.maxBatchSize"),
    ("CaptionModel", {"source": HUB, "batching": {"maxBatchSize": True}}, "batching.maxBatchSize"),
    ("CaptionModel", {"source": HUB, "generation": {"topP": "0.5"}}, "generation.topP"),
    ("CaptionModel", {"source": HUB, "suspend": "yes"}, "suspend"),
    ("CaptionModel", {"source": HUB, "suspend": 1}, "suspend"),
    ("CaptionModel", {"source": HUB, "displayName": 5}, "displayName"),
    ("CaptionModel", {"source": HUB, "prompts": {}}, "prompts"),
    ("CaptionModel", {"source": {"huggingFace": {"repo": "ä/b"}}}, "source.huggingFace.repo"),
    ("CaptionWorkerPool", {**CPU, "env": {"A": 1}}, "env.A"),
    ("CaptionWorkerPool", {**CPU, "resources": {"limits": {"cpu": "1x"}}}, "resources.limits.cpu"),
    ("CaptionWorkerPool", {**CPU, "scheduling": {"affinity": []}}, "scheduling.affinity"),
    ("CaptionWorkerPool", {**CPU, "device": {"type": "TPU"}}, "device.type"),
]


def all_rules() -> Iterator[tuple[str, str, str]]:
    """Kind, path and sentence of every rule in the generated CRDs."""
    for crd in crds().values():
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for path, part in parts(schema):
            for rule in part.get("x-kubernetes-validations", ()):
                yield crd["spec"]["names"]["kind"], path, rule["message"]


def parts(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every place of a CRD's schema with its path, as in `spec.prompts[].name`."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from parts(part, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from parts(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from parts(schema["additionalProperties"], f"{path}{{}}")
