"""How much of an answer does the wide door read? As much as the narrow one; aiobotocore itself has no limit.

It leaves an answer as it came (it asks for no encoding, and decompresses nothing), so the limit holds for all of it.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from poller.aws.proxied import body_of


class BoundedSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore is not typed
    """aiobotocore's HTTP session; the wide door asks for no answer that is streamed."""

    async def send(self, request: Any) -> AioAWSResponse:
        """Raises botocore's errors, as its base class, and Unreachable for an answer above the limit."""
        request.stream_output = True  # or the base class would read it
        response = await super().send(request)
        try:
            body = await body_of(response.raw)
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionClosedError(endpoint_url=request.url, request=request, error=error) from error
        return AioAWSResponse(response.url, response.status_code, response.headers, _Read(body))


class _Read:
    """An answer's body that has been read, as AioAWSResponse asks for one."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body
