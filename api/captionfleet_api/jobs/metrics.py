"""What the flow counts, for /metrics."""

from prometheus_client import Counter

released = Counter("captionfleet_tasks_released_total", "Tasks given to the broker.", ["model"])
known = Counter(
    "captionfleet_tasks_known_total", "Tasks answered from the caption cache.", ["model"]
)
published = Counter(
    "captionfleet_publishes_total",
    "Publishes of tasks, by what became of them.",
    ["model", "fate"],
)
republished = Counter(
    "captionfleet_republished_total",
    "Attempts published again, because nobody knew of them.",
    ["model"],
)
results = Counter(
    "captionfleet_results_total", "Results that counted, by outcome.", ["model", "outcome"]
)
discarded = Counter(
    "captionfleet_results_discarded_total",
    "Results without effect: duplicate, outdated, refuse or malformed. The model is empty where no "
    "task of ours is meant.",
    ["model", "verdict"],
)
swept = Counter(
    "captionfleet_tasks_swept_total", "Attempts found lost and released again.", ["model"]
)
