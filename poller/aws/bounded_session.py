"""How much of an answer does the general client read? As much as the narrow one; aiobotocore itself has no limit.

It asks for no encoding and decompresses nothing, so the limit holds for the whole answer.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from poller.http.proxied import body_of


class BoundedSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore is not typed
    """aiobotocore's HTTP session, with a limit for answers; the general client uses no streamed ones."""

    async def send(self, request: Any) -> AioAWSResponse:
        """Raises botocore's errors, as its base class does, and Unreachable for an answer above the limit."""
        request.stream_output = True  # otherwise the base class reads all of it
        response = await super().send(request)
        try:
            body = await body_of(response.raw)
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionClosedError(endpoint_url=request.url, request=request, error=error) from error
        return AioAWSResponse(response.url, response.status_code, response.headers, _Read(body))


class _Read:
    """A body that was read already, with the methods that AioAWSResponse needs."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body
