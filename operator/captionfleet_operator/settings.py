"""Settings of the operator: those every program shares and its own, read once at start."""

from pathlib import Path

from pydantic import Field

from captionfleet.settings import FleetSettings


class OperatorSettings(FleetSettings):
    custom_infer: Path | None = Field(
        None,
        description="Folder of custom model code. Default: custom_infer in the catalog folder, "
        "else in the working directory.",
    )
    listening_seconds: float = Field(
        6.0,
        gt=0,
        description="Seconds to listen after every (re)connect before anything is scaled, "
        "assigned or rewritten: three heartbeat periods.",
    )
