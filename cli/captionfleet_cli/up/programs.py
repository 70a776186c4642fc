"""Which programs an installation consists of, and the environment each gets: as little as it needs.

Pure: facts in, programs out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from captionfleet_cli.up.service import Program


@dataclass(frozen=True)
class Installation:
    """What one `captionfleet up` is to serve."""

    folder: Path
    data: Path
    fleet: str
    broker_url: str = field(repr=False)
    private_broker: bool
    """The broker is ours to start and end."""
    broker_port: int
    host: str
    port: int
    token: str | None = field(repr=False)
    no_auth: bool
    demo: bool
    drain_seconds: float
    """Longest time its workers may take to finish."""

    @property
    def own_url(self) -> str:
        """The api's address as seen from this machine."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared, not bound
        plain = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{everywhere.get(self.host, plain)}:{self.port}/"

    @property
    def printed_url(self) -> str:
        """What a person opens: it carries the token once, and becomes a cookie."""
        return f"{self.own_url}?token={self.token}" if self.token else self.own_url

    def guard(self, environment: Mapping[str, str]) -> Program:
        """The guard of the private RabbitMQ."""
        module = ("captionfleet_cli.up.guard", str(self.data / "broker"), str(self.broker_port))
        return Program("broker", module, _without_token(environment), self._log("broker"))

    def api(self, environment: Mapping[str, str]) -> Program:
        own = {
            "CAPTIONFLEET_HOST": self.host,
            "CAPTIONFLEET_PORT": str(self.port),
            "CAPTIONFLEET_NO_AUTH": str(self.no_auth).lower(),
            "CAPTIONFLEET_DEMO": str(self.demo).lower(),
        } | ({"CAPTIONFLEET_TOKEN": self.token} if self.token else {})
        return Program(
            "api", ("captionfleet_api",), self._shared(environment) | own, self._log("api")
        )

    def operator(self, environment: Mapping[str, str]) -> Program:
        return Program(
            "operator", ("captionfleet_operator",), self._shared(environment), self._log("operator")
        )

    def _shared(self, environment: Mapping[str, str]) -> dict[str, str]:
        return _without_token(environment) | {
            "RABBITMQ_URL": self.broker_url,
            "CAPTIONFLEET_FLEET": self.fleet,
            "CAPTIONFLEET_CATALOG": str(self.folder),
            "CAPTIONFLEET_DATA": str(self.data),
        }

    def _log(self, program: str) -> Path:
        return self.data / "logs" / f"{program}.log"


def _without_token(environment: Mapping[str, str]) -> dict[str, str]:
    """The token opens the REST doors: the operator, workers and models' code have no use for it."""
    return {name: value for name, value in environment.items() if name != "CAPTIONFLEET_TOKEN"}
