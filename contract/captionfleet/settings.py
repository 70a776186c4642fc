"""Settings that every program shares. Each program adds its own in its settings.py."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class FleetSettings(BaseSettings):
    """Read from the environment and `.env`, prefix CAPTIONFLEET_ but for the original names."""

    model_config = SettingsConfigDict(
        env_prefix="CAPTIONFLEET_", env_file=".env", extra="ignore", frozen=True,
        hide_input_in_errors=True,  # it may be a password
    )  # fmt: skip

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
    namespace: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="Kubernetes namespace with the models and pools of this fleet. Default: none, "
        "they are in the catalog folder.",
    )
    data: Path = Field(
        Path(".captionfleet"), description="Folder for everything the programs keep."
    )
    log_level: str = Field(
        "info",
        pattern="^(?i:debug|info|warning|error)$",
        description="debug, info, warning or error.",
    )
    log_format: str = Field(
        "text",
        pattern="^(?i:text|json)$",
        description="text, a line per event for people, or json, an object per line for programs: "
        "a traceback is then part of its line. Engines' logs are what their code prints.",
    )

    @field_validator("rabbitmq_url")
    @classmethod
    def _is_an_address(cls, url: SecretStr) -> SecretStr:
        if not _names_a_broker(url.get_secret_value()):
            raise ValueError("not an address of a broker: write amqp://USER:PASSWORD@HOST:PORT/")
        return url


def _names_a_broker(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("amqp", "amqps") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or too large
        return False
