"""The kinds of objects the operator makes and watches, and where the API server keeps them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    kind: str
    api_version: str
    plural: str

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]


DEPLOYMENT = Kind("Deployment", "apps/v1", "deployments")
SERVICE = Kind("Service", "v1", "services")
SERVICE_ACCOUNT = Kind("ServiceAccount", "v1", "serviceaccounts")
CLAIM = Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims")
BUDGET = Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets")
POLICY = Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies")
SERVICE_MONITOR = Kind("ServiceMonitor", "monitoring.coreos.com/v1", "servicemonitors")
POD = Kind("Pod", "v1", "pods")
LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases")
MODEL = Kind("CaptionModel", "captionfleet.io/v1alpha1", "captionmodels")
POOL = Kind("CaptionWorkerPool", "captionfleet.io/v1alpha1", "captionworkerpools")

CHILDREN = (SERVICE_ACCOUNT, CLAIM, SERVICE, POLICY, BUDGET, DEPLOYMENT, SERVICE_MONITOR)
"""In the order in which they are made."""
RESOURCES = {"CaptionModel": MODEL, "CaptionWorkerPool": POOL}
BY_KIND = {each.kind: each for each in (*CHILDREN, POD, LEASE, MODEL, POOL)}
