"""Settings of the operator: those every program shares and its own, read once at start."""

import socket
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
        "assigned or rewritten: three heartbeat periods. A new operator that has heard no api "
        "listens for up to 30 s.",
    )

    worker_image: str = Field(
        "captionfleet/worker:latest",
        description="Image of workers on Kubernetes, for pools that name none.",
    )
    worker_pull_policy: str = Field(
        "IfNotPresent",
        pattern="^(Always|IfNotPresent|Never)$",
        description="When nodes pull that image: Always, IfNotPresent or Never.",
    )
    worker_pull_secrets: str = Field(
        "", description="Names of Secrets with which nodes pull it, separated by commas."
    )
    broker_secret: str = Field(
        "captionfleet-broker/url",
        pattern="^[^/]+/[^/]+$",
        description="NAME/KEY of the Secret from which workers on Kubernetes get RABBITMQ_URL.",
    )
    identity: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        description="Name under which this operator holds the lease. Default: the host's name.",
    )
    operator_host: str = Field(
        "127.0.0.1", description="Address of /healthz, /readyz and /metrics, on Kubernetes."
    )
    operator_port: int = Field(
        8080, ge=0, le=65535, description="Port of the same; 0 takes any free one."
    )
