"""What does a destination ask of aws/? One service behind one call."""

from __future__ import annotations

from typing import Any, Protocol

DELIVERY_TIMEOUT_IN_SECONDS = 10.0
"""How long one try to deliver may take; ours: time for an object of 10 MB over 10 Mbit/s, far above what is usual."""


class Client(Protocol):
    """The general client to a service, kept open."""

    async def call(self, operation: str, *, timeout_in_seconds: float, **parameters: Any) -> Any:
        """`operation` and `parameters` are as botocore's client names them; the timeout is for the whole call.

        Raises errors.ServiceError, and only that.
        """
