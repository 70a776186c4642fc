"""An order: what a job is to be made of, however it came in."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from captionfleet_api.jobs.requests import ColumnsAsked, ImageAsked


@dataclass(frozen=True)
class Rejected:
    """A file that could not be used."""

    filename: str
    code: str
    message: str


@dataclass(frozen=True)
class Order:
    """A job to be made. `images` may be empty if all files were rejected."""

    columns: ColumnsAsked
    images: Sequence[ImageAsked]
    rejected: Sequence[Rejected] = ()
    name: str = ""
    priority: str | None = None
    key: str | None = None
    """Idempotency-Key: the same order under the same key is the same job."""

    def digest(self) -> str:
        meant = [
            self.columns.model_dump(mode="json"),
            [(image.id, image.filename) for image in self.images],
            [asdict(each) for each in self.rejected],
            self.name,
            self.priority,
        ]
        return hashlib.sha256(json.dumps(meant, sort_keys=True).encode()).hexdigest()
