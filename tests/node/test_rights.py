"""Least privilege: what api and operator did in the tests before is what their roles grant."""

from functools import partial
from typing import Literal

import pytest
from tests.conftest import eventually
from tests.node.conftest import POOL
from tests.node.installation import Document, Installation

from captionfleet.resources import API_VERSION

CODE = """
class Mine:
    def load(self):
        pass

    def infer(self, image):
        return "{word}"
"""
Right = tuple[str, str, str]
"""(group, resource with its subresource, verb)."""


@pytest.mark.parametrize("program", ["operator", "api"])
async def test_rights_granted_are_rights_used(installed: Installation, program: str) -> None:
    await exercise(installed) if program == "operator" else await exercise_api(installed)

    assert used(installed, program) == granted(installed, program)


def test_nobody_was_refused_anything(installed: Installation) -> None:
    ours = f"system:serviceaccount:{installed.namespace}:captionfleet-"
    refused = [r for r in installed.cluster.requests() if r.user.startswith(ours) and r.code == 403]

    assert refused == []


def test_workers_hold_no_token_of_the_api_server(installed: Installation) -> None:
    worker = f"system:serviceaccount:{installed.namespace}:capw-"

    assert not [r for r in installed.cluster.requests() if r.user.startswith(worker)]


async def exercise(installed: Installation) -> None:
    """What the other tests do not ask of the operator: taking back a policy and a monitor, and
    reading uploaded code."""
    await upload_three_versions(installed)
    cache = {"type": "PVC", "sizeLimit": "1Gi"}
    pool = {**POOL, "volumes": [], "autoscaling": {"mode": "Off"}, "replicas": 2, "cache": cache}
    installed.apply("CaptionWorkerPool", "extra", pool)
    await eventually(lambda: len(installed.workers("extra")) == 2, seconds=60)
    await eventually(lambda: has(installed, "servicemonitor"), seconds=90)
    installed.apply(
        "CaptionWorkerPool",
        "extra",
        pool | {
            "replicas": 1,
            "networkPolicy": {"enabled": False},
            "monitoring": {"serviceMonitor": False},
        },
    )  # fmt: skip
    await eventually(lambda: len(installed.workers("extra")) == 1, seconds=90)
    await eventually(lambda: not has(installed, "networkpolicy"), seconds=60)
    await eventually(lambda: not has(installed, "servicemonitor"), seconds=90)
    installed.kubectl("delete", "capw", "extra")


async def exercise_api(installed: Installation) -> None:
    """Every door that writes: what console and REST do to models and pools."""
    model = {"custom": {"entrypoint": "none:Nothing"}, "suspend": True}
    pool = {"device": {"type": "CPU"}, "suspend": True}
    await make_and_remove(installed, "models", "CaptionModel", model)
    await make_and_remove(installed, "pools", "CaptionWorkerPool", pool)
    await upload_three_versions(installed)


async def upload_three_versions(installed: Installation) -> None:
    """The first goes with the third; the operator reads each."""
    async with installed.client() as client:
        for word in ("one", "two", "three"):
            code = CODE.format(word=word)
            await client.upload_code({"mine.py": code}, name="by-upload")
            await eventually(partial(read_by_operator, installed, word), seconds=30)
        await client.delete("models", "by-upload")


def read_by_operator(installed: Installation, word: str) -> bool:
    """The ConfigMap with this word was asked for by name."""
    maps = installed.get("configmap", "-l", "captionfleet.io/model=by-upload")["items"]
    names = {each["metadata"]["name"] for each in maps if word in each["data"]["mine.py"]}
    return any(
        request.verb == "get" and request.resource == "configmaps" and request.name in names
        for request in installed.cluster.requests()
    )


async def make_and_remove(
    installed: Installation, kind: Literal["models", "pools"], own: str, spec: Document
) -> None:
    manifest = {
        "apiVersion": API_VERSION, "kind": own, "metadata": {"name": "by-rest"}, "spec": spec,
    }  # fmt: skip
    async with installed.client() as client:
        await client.create(kind, manifest)
        await client.apply(kind, {**manifest, "spec": {**spec, "suspend": False}})
        await client.delete(kind, "by-rest")


def has(installed: Installation, kind: str) -> bool:
    return "capw-extra" in installed.kubectl("get", kind, "-o", "name")


def used(installed: Installation, program: str) -> set[Right]:
    """In the installation's own namespace; what everybody may do (discovery) has no object."""
    user = f"system:serviceaccount:{installed.namespace}:captionfleet-{program}"
    requests = [
        r
        for r in installed.cluster.requests()
        if r.user == user and r.namespace == installed.namespace
    ]
    # An apply that makes something new is a patch in the log, and needs both rights.
    made = {
        (r.group, r.resource, "create") for r in requests if r.verb == "patch" and r.code == 201
    }
    return made | {(r.group, r.resource, r.verb) for r in requests}


def granted(installed: Installation, program: str) -> set[Right]:
    role = installed.get("role", f"captionfleet-{program}")
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
