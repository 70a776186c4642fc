"""What all JSON messages share."""

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator


class Message(BaseModel):
    """Frozen; unknown fields are ignored so that a newer sender does not break an older reader."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @field_validator("*", mode="before")
    @classmethod
    def _sendable(cls, value: Any) -> Any:
        """Text from a model or an error may hold what neither UTF-8 nor a database takes."""
        if isinstance(value, str):
            return value.encode("utf-8", "replace").decode().replace("\0", "")
        return value

    def encode(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()
