"""Settings of `captionfleet up`; its flags win over them."""

from ipaddress import ip_address
from pathlib import Path

from pydantic import Field, SecretStr

from captionfleet.settings import FleetSettings


class UpSettings(FleetSettings):
    host: str = Field("127.0.0.1", description="Address the api listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port of the api; 0 takes any free one.")
    token: SecretStr | None = Field(
        None,
        description="Token that guards REST and console. Beyond loopback one is made if needed.",
    )
    no_auth: bool = Field(
        False, description="Serve beyond loopback without a token: only behind your own proxy."
    )
    demo: bool = Field(False, description="Offer small models of the public hub in the console.")

    def data_for(self, folder: Path) -> Path:
        """The data folder: the one that was set, else FOLDER/.captionfleet."""
        chosen = self.data if "data" in self.model_fields_set else folder / ".captionfleet"
        return chosen.resolve()

    @property
    def given_broker(self) -> str | None:
        """The broker that RABBITMQ_URL names; None asks for a private one."""
        given = "rabbitmq_url" in self.model_fields_set
        return self.rabbitmq_url.get_secret_value() if given else None

    @property
    def given_fleet(self) -> str | None:
        return self.fleet if "fleet" in self.model_fields_set else None

    @property
    def on_loopback(self) -> bool:
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
