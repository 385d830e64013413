"""What does a source ask of aws/? One JSON service behind one call."""

from __future__ import annotations

from typing import Any, Protocol

from poller.ports import SourceClock


class Client(Protocol):
    """A service's client: sends one request of its JSON protocol and returns the parsed answer."""

    @property
    def clock(self) -> SourceClock:
        """The service's clock, by the Date of its answers."""

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        """Raises errors.ServiceError, and only that. The timeout is for the whole call."""
