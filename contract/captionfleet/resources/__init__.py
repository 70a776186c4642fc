"""The two resources people write, CaptionModel and CaptionWorkerPool: types, rules, statuses."""

from captionfleet.resources.manifest import (
    API_VERSION,
    KINDS,
    InvalidManifest,
    Manifest,
    Metadata,
    ModelManifest,
    PoolManifest,
    parse_manifest,
)
from captionfleet.resources.model import ModelSpec, PromptPreset
from captionfleet.resources.model_status import ModelPhase, ModelStatus
from captionfleet.resources.pool import PoolSpec
from captionfleet.resources.pool_status import PoolStatus

__all__ = [
    "API_VERSION",
    "KINDS",
    "InvalidManifest",
    "Manifest",
    "Metadata",
    "ModelManifest",
    "ModelPhase",
    "ModelSpec",
    "ModelStatus",
    "PoolManifest",
    "PoolSpec",
    "PoolStatus",
    "PromptPreset",
    "parse_manifest",
]
