"""How is a request sent through a proxy? By aiohttp, which knows proxies, tunnels and their authentication.

aiohttp needs three times the CPU of our own connections (pool.py), so it is used only for proxies. Its session is
opened for the first request.
An answer is read up to a limit. It is never decompressed, because a small compressed answer may become a huge one.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Mapping
from types import SimpleNamespace

import aiohttp
from yarl import URL

from poller.disclosure import safe_text
from poller.errors import Rejected, Unreachable
from poller.http.http1 import LARGEST_ANSWER_IN_BYTES, LARGEST_HEAD_IN_BYTES, AnswerTooLarge, Received
from poller.http.keep_alive import probed_socket
from poller.http.pool import Limits

LARGE_BODY_IN_BYTES = 1 << 20
"""A larger body is written in pieces, so that other calls can run meanwhile."""

NOT_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
"""The errors that aiohttp raises before it sends a request."""


class Proxied:
    """Sends requests through proxies. Call `aclose` at the end."""

    def __init__(self, tls: ssl.SSLContext, limits: Limits) -> None:
        self._tls = tls
        self._limits = limits
        self._opened: aiohttp.ClientSession | None = None

    async def send(
        self, url: str, proxy: str, headers: Mapping[str, str], body: bytes, *, timeout_in_seconds: float
    ) -> Received:
        """Send a POST and return its answer.

        Raises Unreachable if no answer comes or the answer is too large. Raises Rejected if the url or a header cannot
        be sent.
        """
        sent_heads: list[object] = []
        data = body if len(body) <= LARGE_BODY_IN_BYTES else io.BytesIO(body)
        try:
            response = await self._session().post(
                URL(url, encoded=True).with_user(None),  # aiohttp rejects a user and an authorization header together
                data=data,
                headers=headers,
                timeout=aiohttp.ClientTimeout(
                    total=timeout_in_seconds, connect=self._limits.connect_timeout_in_seconds
                ),
                proxy=proxy,
                trace_request_ctx=sent_heads,
                allow_redirects=False,
            )
            body = await body_of(response, self._limits.largest_answer_in_bytes)
            return Received(response.status, response.headers, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise no_answer(error, was_begun=bool(sent_heads)) from error
        except ValueError as error:  # such as a control character in a token, or a host name that cannot be encoded
            raise Rejected("the request has a character that no request may have", code="UnusableHeader") from error

    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            connector = aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=self._limits.keep_alive_in_seconds,
                ssl=self._tls,
                resolver=aiohttp.ThreadedResolver(),
                socket_factory=probed_socket,
            )
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_note_the_head)
            self._opened = aiohttp.ClientSession(
                connector=connector,
                trace_configs=[trace],
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=LARGEST_HEAD_IN_BYTES,
                max_field_size=LARGEST_HEAD_IN_BYTES,
            )
        return self._opened


async def _note_the_head(_: aiohttp.ClientSession, context: SimpleNamespace, head: object) -> None:
    """Note that aiohttp begins to send a request. It does not call this for a CONNECT, which asks for a tunnel."""
    context.trace_request_ctx.append(head)


def no_answer(error: aiohttp.ClientError | TimeoutError | OSError, *, was_begun: bool = True) -> Unreachable:
    """Return the error for a request that got no answer.

    `was_begun` is true if a part of the request may have been sent.
    """
    text = "no answer in time" if isinstance(error, TimeoutError) else safe_text(error)
    was_sent = was_begun and not isinstance(error, NOT_CONNECTED)
    return Unreachable(text, code=type(error).__name__, was_sent=was_sent)


async def body_of(response: aiohttp.ClientResponse, limit_in_bytes: int = LARGEST_ANSWER_IN_BYTES) -> bytes:
    """Return the whole body of an answer. Raises AnswerTooLarge above the limit, and then closes the connection."""
    chunks: list[bytes] = []
    size = 0
    async with response:
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > limit_in_bytes:
                raise AnswerTooLarge(limit_in_bytes)
            chunks.append(chunk)
    return b"".join(chunks)
