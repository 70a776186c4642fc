"""Why the pods of a pool do not run, in words, from what the API server says of them. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from captionfleet_operator.workers import Trouble

_IMAGE_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_LONGEST = 300
_INSUFFICIENT = re.compile(r"Insufficient ([\w./-]*\w)")
_OF_NODES = re.compile(r"0/(\d+) nodes")

Object = Mapping[str, Any]


def pool_trouble(deployment: Object | None, pods: Iterable[Object], refused: str) -> Trouble:
    """The worst there is. `refused`: why the API server refused one of the pool's objects."""
    if refused:
        return Trouble(refused, "Refused")
    found = [trouble for pod in pods for trouble in _of_pod(pod)]
    if found:
        return found[0]
    return _of_deployment(deployment)


def _of_deployment(deployment: Object | None) -> Trouble:
    """Pods that could not even be made, for example for want of quota."""
    status = (deployment or {}).get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            sentence = f"pods are refused by the cluster: {_cut(condition.get('message', ''))}"
            return Trouble(sentence, condition.get("reason", "ReplicaFailure"))
    return Trouble()


def _of_pod(pod: Object) -> Iterator[Trouble]:
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            yield Trouble(_unschedulable(name, condition.get("message", "")), "Unschedulable")
    for container in status.get("containerStatuses") or ():
        yield from _of_container(name, container)


def _unschedulable(pod: str, message: str) -> str:
    nodes, lacking = _OF_NODES.search(message), sorted(set(_INSUFFICIENT.findall(message)))
    if not nodes or not lacking:
        return f"no node takes pod {pod}: {_cut(message)}"
    total = nodes[1]
    named = " and ".join(lacking)
    return (
        f"0/{total} nodes have {named} free for pod {pod}: add such a node, free one, or ask for "
        "less in spec.device and spec.resources"
    )


def _of_container(pod: str, container: Object) -> Iterator[Trouble]:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), _cut(waiting.get("message", ""))
    if reason in _IMAGE_REASONS:
        sentence = f"the image {container.get('image', '')} cannot be pulled for pod {pod}"
        yield Trouble(f"{sentence}: {message or reason}", "ImagePull")
    elif reason in _CONFIG_REASONS:
        yield Trouble(f"pod {pod} cannot be started: {message or reason}", "CannotStart")
    elif reason == "CrashLoopBackOff":
        yield _crashed(pod, container)
    elif not container.get("ready") and _was_killed_for_memory(container):
        yield _out_of_memory(pod)


def _crashed(pod: str, container: Object) -> Trouble:
    last = (container.get("lastState") or {}).get("terminated") or {}
    if last.get("reason") == "OOMKilled":
        return _out_of_memory(pod)
    said = last_line(last.get("message") or "")
    words = f"; its last words were: {said}" if said else ""
    times = container.get("restartCount", 0)
    status = last.get("exitCode", "unknown")
    sentence = f"pod {pod} keeps ending ({times} restarts, exit status {status}){words}"
    return Trouble(sentence, "CrashLoop")


def _was_killed_for_memory(container: Object) -> bool:
    ended = [(container.get(when) or {}).get("terminated") or {} for when in ("state", "lastState")]
    return any(each.get("reason") == "OOMKilled" for each in ended)


def _out_of_memory(pod: str) -> Trouble:
    return Trouble(
        f"pod {pod} was killed because it took more memory than spec.resources.limits.memory: "
        "raise it, or lower hosting.maxModels",
        "OutOfMemory",
    )


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _cut(lines[-1]) if lines else ""


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
