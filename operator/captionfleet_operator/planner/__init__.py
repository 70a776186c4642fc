"""The planner: pure functions that turn the world as seen into a plan. No I/O, clock or chance."""

from captionfleet_operator.planner.events import Event, events
from captionfleet_operator.planner.memory import Memory, PoolMemory
from captionfleet_operator.planner.plan import Plan, plan
from captionfleet_operator.planner.rooms import Eviction
from captionfleet_operator.planner.scaling import PoolPlan
from captionfleet_operator.planner.seen import ModelSeen, OwnWorker, PoolSeen, WorkerSeen
from captionfleet_operator.planner.world import World

__all__ = [
    "Event",
    "Eviction",
    "Memory",
    "ModelSeen",
    "OwnWorker",
    "Plan",
    "PoolMemory",
    "PoolPlan",
    "PoolSeen",
    "WorkerSeen",
    "World",
    "events",
    "plan",
]
