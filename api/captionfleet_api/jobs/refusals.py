"""Refusal: what a person asked of a job cannot be done; the message says why and what to do."""


class Refusal(Exception):
    """`status` is the HTTP status that says it best; `field` names the field at fault."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        field: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.field = field
        self.retry_after = retry_after
        """Seconds after which the same request may succeed."""
