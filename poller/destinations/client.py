"""Which client does a destination need? A client that calls the operations of one service."""

from __future__ import annotations

from typing import Any, Protocol

DELIVERY_TIMEOUT_IN_SECONDS = 10.0
"""How long one try to deliver may take. We chose it: 10 MB over 10 Mbit/s take less, and most documents are small."""


class Client(Protocol):
    """A general client of one service. It stays open between calls."""

    async def call(self, operation: str, *, timeout_in_seconds: float, **parameters: Any) -> Any:
        """Call the service and return its answer. Raises only errors.ServiceError.

        `operation` and `parameters` have the names that botocore's client uses. The timeout covers the whole call.
        """
