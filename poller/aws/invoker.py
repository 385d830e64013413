"""How is a Lambda function called often at low cost? By the Invoke API. The target interprets the answer.

Source: AWS Lambda API Reference, "Invoke".
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from poller.aws.signing import resource
from poller.aws.wire import Answer, Route, Wire


class Invoker:
    """The fast client of one function in one region, with one identity."""

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
        """Return the url to which requests are sent."""
        return self._route.resource.url

    async def invoke(self, payload: bytes, headers: Mapping[str, str]) -> Answer:
        """Call the function and return the answer, even if it reports an error. Header names are in lower case.

        Raises Unreachable if no answer comes, and AccessDenied if there are no credentials.
        A request that the function may have received is not sent again.
        """
        return await self._wire.post(self._route, headers, payload, timeout_in_seconds=self._timeout_in_seconds)


def encoded(text: str) -> str:
    """Return the text for a path or query: all characters except letters, digits and -._~ are percent-encoded."""
    return quote(text, safe="-._~")
