"""The part of CaptionWorkerPool.spec that shapes the workers' pods on Kubernetes.

A pool of processes on one machine has no pods: the local operator leaves these fields alone.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints

from captionfleet.resources.base import Labels, Quantity, Resource, keys, rule, rules

Name = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)
]
ResourceQuantity = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti|k|M|G|T)?$", max_length=20),
    # A bare number is a quantity too, as in a pod.
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    Field(json_schema_extra={"x-kubernetes-int-or-string": True}),
]
Quantities = Annotated[
    dict[str, ResourceQuantity],
    Field(max_length=16, json_schema_extra=keys(253)),
]
AsInPods = Annotated[
    dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
]
"""Written as in a pod, and judged by the API server when the pods are made."""


class SecretKey(Resource):
    name: Name
    """Name of the Secret, in the pool's namespace."""
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
    """Key in the Secret."""


class CacheType(StrEnum):
    EMPTY_DIR = "EmptyDir"
    HOST_PATH = "HostPath"
    PVC = "PVC"


class AccessMode(StrEnum):
    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_MANY = "ReadWriteMany"


class Cache(Resource):
    model_config = rules(
        rule("self.type == oldSelf.type", "cache.type cannot be changed: make another pool"),
        rule(
            "self.type != 'HostPath' || has(self.hostPath)",
            "cache.type HostPath needs cache.hostPath, a folder of the node",
        ),
        rule(
            "self.type == 'HostPath' || !has(self.hostPath)",
            "cache.hostPath is for cache.type HostPath: remove it or change the type",
        ),
        rule(
            "self.type == 'PVC' || (!has(self.claimName) && !has(self.storageClassName))",
            "cache.claimName and cache.storageClassName are for cache.type PVC: remove them or"
            " change the type",
        ),
    )
    type: CacheType = CacheType.EMPTY_DIR
    """EmptyDir goes with its worker; HostPath stays on the node; PVC is a volume claim."""
    host_path: Annotated[str, StringConstraints(pattern=r"^/", max_length=4096)] | None = None
    """Folder of the node, for HostPath. It must be writable for user 10001."""
    claim_name: Name | None = None
    """Claim to use, for PVC. Default: one is made for the pool, and deleted with it."""
    storage_class_name: Name | None = None
    """Storage class of the claim that is made. Default: the cluster's own."""
    access_mode: AccessMode = AccessMode.READ_WRITE_ONCE
    """Access mode of the claim that is made. ReadWriteOnce keeps all workers on one node."""
    size_limit: Quantity = "50Gi"
    """Size of the claim that is made, or most an EmptyDir may take."""
    high_watermark_percent: Annotated[int, Field(ge=1, le=100)] = 90
    """Percent of the cache that downloads may fill. Above it, unused models are removed."""


class PoolVolume(Resource):
    claim_name: Name
    """Claim in the pool's namespace; models name it in source.volume.claimName."""


class Scheduling(Resource):
    node_selector: Labels = {}
    """Labels a node must have."""
    tolerations: Annotated[list[AsInPods], Field(max_length=32)] = []
    """Taints of nodes that are accepted, written as in a pod."""
    affinity: AsInPods = {}
    """Preferred and required neighbors, written as in a pod."""
    topology_spread_constraints: Annotated[list[AsInPods], Field(max_length=8)] = []
    """How workers spread over nodes and zones, written as in a pod."""
    priority_class_name: Name | None = None
    """Priority class of the workers' pods."""
    runtime_class_name: Name | None = None
    """Runtime class of the workers' pods, for example nvidia or gvisor."""


class WorkerResources(Resource):
    requests: Quantities = {}
    """What a worker is sure to get, for example cpu and memory."""
    limits: Quantities = {}
    """What a worker may take at most; a memory limit also bounds what is placed on it."""
