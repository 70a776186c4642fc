"""What all JSON messages share."""

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """Frozen; unknown fields are ignored so that a newer sender does not break an older reader."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def encode(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()
