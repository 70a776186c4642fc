"""The page docs/troubleshooting.md: what `kubectl describe` prints in each case, and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.node.conftest import POOL


@dataclass(frozen=True)
class Case:
    title: str
    kind: str
    name: str
    spec: Mapping[str, Any]
    reason: str
    """Of the Ready condition."""
    advice: str


_ONE = {"minReplicas": 1, "maxReplicas": 1}
_NO_VOLUMES = {**POOL, "volumes": [], "autoscaling": _ONE}

HEALTHY = Case(
    "All is well", "captionworkerpool", "cpu", POOL, "",
    "Ready is True as soon as as many workers are heard as are wanted. `Scaling History` says why "
    "the pool has the size it has.",
)  # fmt: skip

BROKEN = [
    Case(
        "No node takes the worker", "captionworkerpool", "gpu",
        {"device": {"type": "GPU"}, "autoscaling": _ONE}, "Unschedulable",
        "Add a node with the resource that is named, free one, or ask for less in `spec.device` "
        "and `spec.resources`. Pictures wait, and nothing fails meanwhile.",
    ),
    Case(
        "The image cannot be pulled", "captionworkerpool", "no-image",
        {**_NO_VOLUMES, "image": "captionfleet/worker:misspelled"}, "ImagePull",
        "Correct `spec.image`, or the chart's `worker.image`; a private registry needs "
        "`spec.imagePullSecrets`.",
    ),
    Case(
        "The worker keeps ending", "captionworkerpool", "crashing",
        {**_NO_VOLUMES, "broker": {"secretRef": {"name": "bad-broker", "key": "url"}}},
        "CrashLoop",
        "The last words of the worker are in the message. Here the Secret that "
        "`spec.broker.secretRef` names holds no address of a broker.",
    ),
    Case(
        "The worker takes more memory than it may", "captionworkerpool", "small",
        {**_NO_VOLUMES, "resources": {"limits": {"memory": "24Mi"}}}, "OutOfMemory",
        "Raise `spec.resources.limits.memory`, or lower `spec.hosting.maxModels`.",
    ),
    Case(
        "No pool takes the model", "captionmodel", "homeless",
        {"source": {"volume": {"claimName": "elsewhere", "path": "blip"}}}, "VolumeNotMounted",
        "Name the claim in `spec.volumes` of a pool, as the message says.",
    ),
]  # fmt: skip

_HEAD = """# Troubleshooting on Kubernetes

Every model and every pool says in its status what it is doing, or why it cannot. Begin with

```
kubectl describe captionmodel NAME
```

or the same with `captionworkerpool`. The line `Message` is one sentence with the reason.
`Conditions` says the same in parts, each with a word for programs. The events at the end say what
happened before.

The outputs below are real. They were printed by the end-to-end test of this project, on a cluster
with one node and no GPU. Write them anew with `make described`.
"""


def page(outputs: Mapping[str, str]) -> str:
    """`outputs`: name of each case's resource -> what kubectl describe printed."""
    parts = [_HEAD]
    for case in (HEALTHY, *BROKEN):
        shown = "\n".join(line.rstrip() for line in outputs[case.name].splitlines())
        parts.append(
            f"## {case.title}\n\n{case.advice}\n\n```\n"
            f"$ kubectl describe {case.kind} {case.name}\n{shown}\n```\n"
        )
    return "\n".join(parts)
