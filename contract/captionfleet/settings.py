"""Settings that every program shares. Each program adds its own in its settings.py."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class FleetSettings(BaseSettings):
    """Read from the environment and `.env`, prefix CAPTIONFLEET_ but for the original names."""

    model_config = SettingsConfigDict(
        env_prefix="CAPTIONFLEET_", env_file=".env", extra="ignore", frozen=True
    )

    rabbitmq_url: SecretStr = Field(
        SecretStr("amqp://guest:guest@127.0.0.1:5672/"),
        validation_alias="RABBITMQ_URL",
        description="Address of the broker, amqp:// or amqps://.",
    )
    fleet: str = Field(
        "captionfleet",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$",
        description="Name of this installation on the broker; installations may share a broker.",
    )
    catalog: Path = Field(
        Path(), description="Folder of manifests with the models and pools of this fleet."
    )
    data: Path = Field(
        Path(".captionfleet"), description="Folder for everything the programs keep."
    )
    log_level: str = Field("info", description="debug, info, warning or error.")
