"""How is a function reached over HTTP? The event is POSTed; what comes back is read in one of two languages.

    answer                     plain HTTP service               Runtime Interface Emulator (by its path)
    2xx                        Answered                         Answered; FunctionError if it has an error's shape,
                                                                or is the text "Task timed out after …"
    429                        Throttled, after Retry-After     the same
    503                        the next url, else Throttled     the same
    413                        TooLarge                         the same
    other 4xx, 5xx, 3xx        FunctionError HTTP.<status>      the same, but for:
    400                                                         Unreachable: it serves another call
    500, 504                                                    Unreachable: the call never reached the function
    502                                                         FunctionError: the runtime exited
    no connection              the next url, else Unreachable   the same
    refused by a proxy, or 407 the next url, else Unreachable   the same
    no valid request           the next url, else Unreachable   the same
    answer lost, or unreadable LostAnswer                       the same
    the function's timeout     FunctionError Sandbox.Timedout   the same
    more than 6 MB             FunctionError Function.ResponseSizeTooLarge

The request carries X-Amzn-RequestId and Lambda-Runtime-Aws-Request-Id (the invocation's id, kept when an unchanged
batch is tried again), X-Poller-Mapping and X-Poller-Attempt, and for an emulator X-Amz-Client-Context.
Which url is next: `targets/endpoints.py`; through which proxy: `http/proxies.py`.
A reason names only a url's host and port, because its user, path and query may be secrets.
Of an answer that refuses or fails, the status and the beginning of the body are shown: the function's own words.

Sources: AWS Lambda Developer Guide, "Testing Lambda container image locally" and "Lambda quotas"; RFC 9110.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from io import BytesIO
from types import TracebackType
from typing import Self

import aiohttp
import anyio
from multidict import CIMultiDict
from yarl import URL

from poller.core.service_time import parsed_date
from poller.disclosure import safe_text
from poller.facts import Emit
from poller.http.keep_alive import probed_socket
from poller.model.function import Function, HttpService
from poller.model.invocation import (
    Answered,
    FunctionError,
    Invocation,
    LostAnswer,
    Response,
    Throttled,
    TooLarge,
    Unreachable,
)
from poller.targets.client_context import client_context
from poller.targets.endpoints import Endpoint, Endpoints
from poller.targets.failures import (
    RESPONSE_LIMIT_IN_BYTES,
    exited,
    is_error_document,
    posted,
    timed_out,
    too_large,
)

CONNECT_IN_SECONDS = 5.0
"""A connection that takes longer, or half of the function's timeout, is none: the request was not sent."""

KEEP_ALIVE_IN_SECONDS = 1.5
"""Less than servers keep an idle connection (gunicorn: 2, Node: 5): a call into a closing one is a lost answer."""

RETRY_AFTER_LIMIT_IN_SECONDS = 900.0
"""The longest pause that a service may ask for: as long as a function on Lambda may run."""

AT_ONCE_LIMIT_IN_BYTES = 2**20

WORDS_LIMIT_IN_BYTES = 256
"""How much of the body of a failing answer is shown."""

HEADER_LIMIT_IN_BYTES = 2**16
"""The longest line or header of an answer; aiohttp's own limit is 8,190."""

ERROR_HEADERS = ("Error-Type", "X-Amz-Function-Error")
"""An answer with one of these headers is the function's error: newer emulators send the first, Lambda the second."""

EMULATORS_TIMEOUT = re.compile(rb"Task timed out after (\d+)\.00 seconds")
"""Its answer when the function took too long: status 200, plain text."""


class HttpTarget:
    """A function as an HTTP service, or several alike. Open it with `async with`."""

    def __init__(self, function: Function, *, emit: Emit, clock: Callable[[], float] = time.time) -> None:
        assert isinstance(function.kind, HttpService), function.kind
        self._function = function
        self._headers = CIMultiDict({"Content-Type": "application/json", "Accept-Encoding": "identity"})
        for name, value in function.kind.headers.items():
            self._headers[name] = value
        self._endpoints = Endpoints(function.kind.urls, function=function.name, emit=emit)
        self._clock = clock

    async def __aenter__(self) -> Self:
        connect = min(CONNECT_IN_SECONDS, self._function.timeout_in_seconds / 2)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEEP_ALIVE_IN_SECONDS, socket_factory=probed_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=connect),
            headers=self._headers,
            max_line_size=HEADER_LIMIT_IN_BYTES,
            max_field_size=HEADER_LIMIT_IN_BYTES,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._session.close()

    async def invoke(self, invocation: Invocation) -> Response:
        """See ports.Target. A url that did not take the call is followed by the next one, until one did."""
        refused: dict[Endpoint, Throttled | Unreachable] = {}
        while True:
            async with self._endpoints.turn(but=refused) as endpoint:
                if endpoint is None:
                    return _worth_telling(list(refused.values()))
                response = await self._call(endpoint, invocation)
                self._judge(endpoint, response)
            if not isinstance(response, Throttled | Unreachable):
                return response
            refused[endpoint] = response

    def _judge(self, endpoint: Endpoint, response: Response) -> None:
        """Whether the url is to be used again at once."""
        match response:
            case Throttled():
                self._endpoints.failed(endpoint, response.reason, pause=response.retry_after)
            case Unreachable() | LostAnswer():
                self._endpoints.failed(endpoint, response.reason)
            case FunctionError(error_type="HTTP.502" | "HTTP.504" as gateway_error):
                self._endpoints.failed(endpoint, gateway_error)
            case _:
                self._endpoints.succeeded(endpoint)

    async def _call(self, endpoint: Endpoint, invocation: Invocation) -> Response:
        try:
            with anyio.fail_after(self._function.timeout_in_seconds):
                async with self._session.post(
                    endpoint.url,
                    data=_data(invocation.payload),
                    headers=_headers(endpoint, invocation),
                    allow_redirects=False,
                    proxy=endpoint.proxy,
                ) as reply:
                    body = await _body(reply)
        except aiohttp.ConnectionTimeoutError:
            return Unreachable(reason=f"no connection to {_place(endpoint.proxy or endpoint.url)} in time")
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
            return Unreachable(reason=safe_text(error))
        except TimeoutError:
            return timed_out(invocation.request_id, self._function.timeout_in_seconds)
        except ValueError as error:
            return Unreachable(reason=f"the request cannot be made: {type(error).__name__}")
        except (aiohttp.ClientError, OSError) as error:
            return LostAnswer(reason=_unread(error))
        if body is None:
            return too_large()
        return self._understood(endpoint, invocation, reply, body)

    def _understood(
        self, endpoint: Endpoint, invocation: Invocation, reply: aiohttp.ClientResponse, body: bytes
    ) -> Response:
        if reply.status in (429, 503):
            there = parsed_date(reply.headers.get("Date", ""))
            now = self._clock() if there is None else there
            pause = retry_after(reply.headers.get("Retry-After"), now=now)
            detail = f"{_place(reply.url)}: {_in_words(reply, body, invocation)}"
            return Throttled(reason=f"HTTP.{reply.status}", retry_after=pause, detail=detail)
        if reply.status == 407:  # only a proxy answers so, and its answer is not for the log
            return Unreachable(reason="HTTP.407", detail=f"{_place(reply.url)}: refused by the proxy")
        if endpoint.is_emulator:
            return _emulators_answer(reply, body, invocation)
        return Answered(body) if 200 <= reply.status < 300 else _http_error(reply, body, invocation)


def retry_after(value: str | None, *, now: float) -> float | None:
    """The pause in seconds that a Retry-After header asks for, by a number or a date; None if it has neither.

    `now` is the time on the clock of the server that wrote the header.
    """
    if value is None:
        return None
    try:
        seconds = float(value) if value.isdecimal() else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_LIMIT_IN_SECONDS)


def _place(url: URL) -> str:
    return f"{url.raw_host}:{url.port}"


_UNREAD = {
    "Can not decode content-encoding": "the answer's content-encoding cannot be read",
    "Got more than": f"the answer has a line or a header of more than {HEADER_LIMIT_IN_BYTES} bytes",
    "Too many headers": "the answer has too many headers",
}
"""What aiohttp says of an answer that it cannot read, which may hold some of it, and what we say."""


def _unread(error: Exception) -> str:
    said = str(error)
    for theirs, ours in _UNREAD.items():
        if theirs in said:
            return ours
    return "the answer is not HTTP" if isinstance(error, aiohttp.ClientResponseError) else type(error).__name__


def _headers(endpoint: Endpoint, invocation: Invocation) -> dict[str, str]:
    headers = {
        "X-Amzn-RequestId": invocation.request_id,
        "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
        "X-Poller-Mapping": invocation.mapping,
        "X-Poller-Attempt": str(invocation.attempt),
    }
    if endpoint.is_emulator:
        headers["X-Amz-Client-Context"] = base64.b64encode(client_context(invocation).encode()).decode()
    return headers


def _data(payload: bytes) -> bytes | BytesIO:
    """aiohttp writes bytes at once, and a file in pieces; above a megabyte it insists on the latter."""
    return payload if len(payload) <= AT_ONCE_LIMIT_IN_BYTES else BytesIO(payload)


async def _body(reply: aiohttp.ClientResponse) -> bytes | None:
    """The answer's body; None as soon as it is larger than an answer may be, and the connection is not used again."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in reply.content.iter_any():
        size += len(chunk)
        if size > RESPONSE_LIMIT_IN_BYTES:
            reply.close()
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _emulators_answer(reply: aiohttp.ClientResponse, body: bytes, invocation: Invocation) -> Response:
    """What an emulator means. It hides a function's failures behind a status of 200; newer ones name their type."""
    is_error = is_error_document(body)
    if any(name in reply.headers for name in ERROR_HEADERS) or (is_error and reply.status in (200, 502)):
        return posted(body, error_type=reply.headers.get("Error-Type"))
    if reply.status == 200:
        timeout = EMULATORS_TIMEOUT.match(body)
        return timed_out(invocation.request_id, float(timeout[1])) if timeout else Answered(body)
    if reply.status == 502:
        return exited(invocation.request_id, None)
    if reply.status in (400, 500, 504):
        detail = f"{_place(reply.url)}: {_in_words(reply, body, invocation)}"
        return Unreachable(reason=f"HTTP.{reply.status}", detail=detail)
    return _http_error(reply, body, invocation)


def _http_error(reply: aiohttp.ClientResponse, body: bytes, invocation: Invocation) -> FunctionError | TooLarge:
    error_type, message = f"HTTP.{reply.status}", _in_words(reply, body, invocation)
    if reply.status == 413:
        return TooLarge(error_type=error_type, message=message)
    return FunctionError(error_type=error_type, message=message, payload=body)


def _in_words(reply: aiohttp.ClientResponse, body: bytes, invocation: Invocation) -> str:
    """The status and the beginning of the body, in one line; a body that repeats the event is not shown."""
    said = body[:WORDS_LIMIT_IN_BYTES]
    words = "" if said in invocation.payload else said.decode(errors="replace")
    return " ".join(f"{reply.status} {(reply.reason or '')[:WORDS_LIMIT_IN_BYTES]}: {words}".split()).rstrip(":")


def _worth_telling(refusals: list[Throttled | Unreachable]) -> Throttled | Unreachable:
    """Of all the refusals, one of a function that is there but full, if there is one."""
    return next((one for one in refusals if isinstance(one, Throttled)), refusals[-1])
