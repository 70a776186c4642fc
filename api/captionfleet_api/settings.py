"""Settings of the api. Every one is an environment variable CAPTIONFLEET_<NAME>, or in `.env`."""

from ipaddress import ip_address
from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from captionfleet.settings import FleetSettings

# As people and secrets write it -> as SQLAlchemy names what we bring along.
_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}


class ApiSettings(FleetSettings):
    """Read once at the start."""

    server_queue: str | None = Field(
        None,
        validation_alias="SERVER_QUEUE",
        min_length=1,
        max_length=200,
        description="Queue that gathers this api's results. Default: named after its database.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    token: SecretStr | None = Field(
        None, description="Token that guards REST and console. Needed beyond loopback."
    )
    no_auth: bool = Field(
        False, description="Serve beyond loopback without a token: only behind your own proxy."
    )
    database_url: SecretStr | None = Field(
        None,
        description="Address of a PostgreSQL database, postgresql://USER:PASSWORD@HOST/NAME. "
        "Default: SQLite, captionfleet.db in the data folder.",
    )
    custom_infer: Path | None = Field(
        None, description="Folder of CustomModel code. Default: custom_infer beside the manifests."
    )
    custom_code: bool = Field(
        True,
        description="Take Python code for models over REST and in the console. Whoever may send it "
        "runs code on the workers.",
    )
    demo: bool = Field(False, description="Offer small models of the public hub in the console.")
    hub: str = Field(
        "https://huggingface.co",
        validation_alias="HF_ENDPOINT",
        description="Address of the Hugging Face hub.",
    )

    upload_limit_mb: int = Field(25, ge=1, le=1000, description="Largest picture file, in MB.")
    form_limit_mb: int = Field(
        512, ge=1, description="Largest multipart job (all files together), in MB."
    )
    picture_side: int = Field(
        1536, ge=64, le=8192, description="Longest side that models see, in pixels."
    )
    picture_pixels_mp: int = Field(
        50, ge=1, le=1000, description="Most pixels of an uploaded picture, in megapixels."
    )
    decoders: int = Field(
        0, ge=0, le=64, description="Processes that decode pictures; 0 = half the cores, 1 to 4."
    )
    decode_seconds: float = Field(20, gt=0, description="Longest decoding of a picture, seconds.")
    decode_memory_mb: int = Field(
        2048, ge=256, description="Most memory a decoding process may take, in MB."
    )
    waiting_uploads: int = Field(
        256, ge=1, description="Most uploads that wait for a decoder before others get 503."
    )
    orphan_hours: float = Field(
        24, gt=0, description="Hours after which a picture that no job uses is deleted."
    )

    sweep_seconds: float = Field(
        30, gt=0, description="Seconds between two checks for attempts that got lost."
    )
    model_deleted_seconds: float = Field(
        60, ge=0, description="Seconds that tasks of a deleted model wait for it to come back."
    )
    job_tasks: int = Field(200_000, ge=1, description="Most tasks (pictures x columns) of one job.")
    open_tasks: int = Field(
        1_000_000, ge=1, description="Open tasks of all jobs above which new jobs get 429."
    )

    @field_validator("database_url")
    @classmethod
    def _is_a_database(cls, url: SecretStr | None) -> SecretStr | None:
        if url and _driver_name(url.get_secret_value()) not in _DRIVERS:
            raise ValueError("not an address of PostgreSQL: postgresql://USER:PASSWORD@HOST/NAME")
        return url

    @property
    def upload_limit_bytes(self) -> int:
        return self.upload_limit_mb * 1_000_000

    @property
    def form_limit_bytes(self) -> int:
        return self.form_limit_mb * 1_000_000

    @property
    def blobs(self) -> Path:
        return self.data / "blobs"

    @property
    def database(self) -> str:
        """The address of the database as SQLAlchemy takes it, the default included."""
        if self.database_url is None:
            return f"sqlite+aiosqlite:///{self.data.resolve()}/captionfleet.db"
        url = make_url(self.database_url.get_secret_value())
        return url.set(drivername=_DRIVERS[url.drivername]).render_as_string(hide_password=False)

    @property
    def on_loopback(self) -> bool:
        """Only programs on this machine can reach the api."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def code_refusal(self) -> str:
        """Why no code is taken from visitors, and what to do; empty where it is."""
        if not self.custom_code:
            return (
                "this installation takes no code over REST and in the console: set "
                "CAPTIONFLEET_CUSTOM_CODE=1 (customCode.enabled in the chart), or put the code "
                "where the manifests are"
            )
        if not (self.token or self.on_loopback):
            return (
                "this api asks nobody for a token and is reached from other machines, so it takes "
                "no code: set CAPTIONFLEET_TOKEN"
            )
        return ""

    @model_validator(mode="after")
    def _guarded(self) -> "ApiSettings":
        if not (self.on_loopback or self.token or self.no_auth):
            raise ValueError(
                f"listening on {self.host} lets others in: set CAPTIONFLEET_TOKEN, or start with "
                "--no-auth (CAPTIONFLEET_NO_AUTH=1) behind a proxy of your own that asks who comes"
            )
        if self.token and len(self.token.get_secret_value()) < 8:
            raise ValueError("CAPTIONFLEET_TOKEN is too short: take at least 8 characters")
        return self


def _driver_name(url: str) -> str:
    try:
        made = make_url(url)
    except ArgumentError:
        return ""
    # SQLite: a file and nothing more. In memory each connection would have a database of its own.
    plain = made.database not in (None, "", ":memory:") and not made.query
    return made.drivername if plain or not made.drivername.startswith("sqlite") else ""
