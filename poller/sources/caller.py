"""What does a source ask of aws/? One JSON service behind one call."""

from __future__ import annotations

from typing import Any, Protocol


class Caller(Protocol):
    """The door to a service: sends one request of its JSON protocol and returns the parsed answer."""

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        """Raises errors.ServiceError, and only that. The timeout is for the whole call."""


class DatedCaller(Caller, Protocol):
    """The door to a service that tells its own time."""

    @property
    def served_at(self) -> float | None:
        """When its last answer was given, in whole epoch seconds; None where it does not say."""
