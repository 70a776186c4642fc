"""Every message that travels over the broker."""

from captionfleet.messages.fleet import (
    Assignment,
    Copy,
    CopyState,
    CustomClass,
    Demand,
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
