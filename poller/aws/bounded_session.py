"""How much of an answer does the general client read? As much as the fast client reads. aiobotocore has no limit.

The client asks for no compression and decompresses nothing, so a small answer cannot become a huge one.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from poller.http.proxied import body_of


class BoundedSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore is not typed
    """aiobotocore's HTTP session with a limit for answers. It reads every answer whole, so it cannot stream one."""

    async def send(self, request: Any) -> AioAWSResponse:
        """Send a request and return its answer.

        Raises Unreachable if the answer is too large, and the errors of botocore.
        """
        request.stream_output = True  # otherwise the base class reads the whole answer, without a limit
        response = await super().send(request)
        try:
            body = await body_of(response.raw)
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionClosedError(endpoint_url=request.url, request=request, error=error) from error
        return AioAWSResponse(response.url, response.status_code, response.headers, _Read(body))


class _Read:
    """A body that is already read, with the method that AioAWSResponse needs."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body
