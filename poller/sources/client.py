"""Which client does a source need? A client that calls the operations of one JSON service."""

from __future__ import annotations

from typing import Any, Protocol

from poller.ports import SourceClock


class Client(Protocol):
    """A service's client: sends one request of its JSON protocol and returns the parsed answer."""

    @property
    def clock(self) -> SourceClock:
        """Return the service's clock, as the Date headers of its answers show it."""

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        """Send one request and return the parsed answer. Raises only errors.ServiceError.

        The timeout covers the whole call.
        """
