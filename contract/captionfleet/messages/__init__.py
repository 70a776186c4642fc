"""Every message that travels over the broker."""

from captionfleet.messages.fleet import (
    Assignment,
    Copy,
    CopyState,
    CustomClass,
    Demand,
    Disk,
    Download,
    Generation,
    Heartbeat,
    ModelAssignment,
    ModelDemand,
    OperatorHeartbeat,
    Wanted,
    decode_heartbeat,
)
from captionfleet.messages.tasks import MalformedTask, Outcome, ResultMessage, TaskMessage

__all__ = [
    "Assignment",
    "Copy",
    "CopyState",
    "CustomClass",
    "Demand",
    "Disk",
    "Download",
    "Generation",
    "Heartbeat",
    "MalformedTask",
    "ModelAssignment",
    "ModelDemand",
    "OperatorHeartbeat",
    "Outcome",
    "ResultMessage",
    "TaskMessage",
    "Wanted",
    "decode_heartbeat",
]
