"""Settings of the commands that talk to a server; --server wins over them."""

from pydantic import Field, SecretStr

from captionfleet.settings import FleetSettings


class CliSettings(FleetSettings):
    server: str = Field("http://127.0.0.1:8000", description="Address of the api.")
    token: SecretStr | None = Field(None, description="Token that the api asks for.")
