"""The operator on Kubernetes: the only place that imports kopf."""
