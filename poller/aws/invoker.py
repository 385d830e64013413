"""How is a Lambda function called all day? The Invoke API; what the answer means is the target's to say.

Source: AWS Lambda API Reference, "Invoke".
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from poller.aws.signing import resource
from poller.aws.wire import Answer, Route, Wire


class Invoker:
    """One function in one region, as one identity."""

    def __init__(
        self,
        wire: Wire,
        *,
        base_url: str,
        proxy: str | None,
        name: str,
        qualifier: str | None,
        timeout_in_seconds: float,
    ) -> None:
        url = f"{base_url.rstrip('/')}/2015-03-31/functions/{encoded(name)}/invocations"
        if qualifier is not None:
            url += f"?Qualifier={encoded(qualifier)}"
        self._wire = wire
        self._route = Route.to(resource("POST", url), proxy=proxy)
        self._timeout_in_seconds = timeout_in_seconds

    @property
    def url(self) -> str:
        """Where requests go."""
        return self._route.resource.url

    async def invoke(self, payload: bytes, headers: Mapping[str, str]) -> Answer:
        """Any answer, an error too. Header names in lower case; raises Unreachable or AccessDenied.

        Nothing is sent again that may have run.
        """
        return await self._wire.post(self._route, headers, payload, timeout_in_seconds=self._timeout_in_seconds)


def encoded(text: str) -> str:
    """As part of a path or query: everything but the unreserved characters."""
    return quote(text, safe="-._~")
