"""What the doors count, for /metrics. What the flow counts is in jobs/metrics.py."""

from prometheus_client import Counter, Gauge, Histogram

requests = Histogram(
    "captionfleet_http_request_seconds",
    "Seconds until a request was answered, streams excluded.",
    ["method", "route", "status"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 120),
)
rejected = Counter(
    "captionfleet_rejected_files_total", "Uploaded files that could not be used.", ["code"]
)
tasks = Gauge("captionfleet_tasks", "Tasks by model and state.", ["model", "state"])
