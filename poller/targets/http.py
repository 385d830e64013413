"""How is a function reached over HTTP? The event is POSTed, and the answer's status and body say what happened.

    answer                     plain HTTP service             Runtime Interface Emulator (recognised by its path)
    2xx                        Answered                       200: Answered; FunctionError if the body is an error
                                                              document or the text "Task timed out after …"
    429, 503                   Throttled (*)                  the same
    413                        TooLarge                       the same
    any other status           FunctionError HTTP.<status>    the same, except for the next three lines:
        400                                                   Unreachable (*): it serves another call
        500, 504                                              Unreachable (*): the call never reached the function
        502                                                   FunctionError: the runtime exited
    no connection              Unreachable (*)                the same
    a proxy refuses, or 407    Unreachable (*)                the same
    no request can be made     Unreachable (*)                the same
    answer lost or unreadable  LostAnswer                     the same
    2xx without a body         Answered, not whole if only    the same
                               the closed connection ends it
    no answer in time          FunctionError Sandbox.Timedout               the same
    more than 6 MB             FunctionError Function.ResponseSizeTooLarge  the same

    (*) The next url of the function is tried. The response is this one if no url takes the call.
        A Throttled has the pause that the header Retry-After asks for.

The request carries the invocation's id in X-Amzn-RequestId and in Lambda-Runtime-Aws-Request-Id; the id stays the same
when a batch or an event is retried unchanged. It also carries X-Poller-Attempt, and these headers where they apply:

    X-Poller-Mapping                      the batch of a mapping
    X-Poller-Shard-Id                     a batch of a stream
    X-Poller-Fencing-Token                a batch of a shard that is read under a lease
    X-Amz-Client-Context                  a batch, for an emulator; the context of a client of the Invoke API, for all
    X-Amzn-Trace-Id, traceparent          the trace that the event belongs to
    Lambda-Runtime-Invoked-Function-Arn   the function's ARN as the client wrote it
    X-Amz-Log-Type                        the client asks for the log tail, which the answer has in X-Amz-Log-Result

`targets/endpoints.py` chooses the url, and `http/proxies.py` the proxy.
A reason names only a url's host and port, because its user, path and query may be secrets.
The text of a failure has the status and the beginning of the body, which is the function's own message.

Sources: AWS Lambda Developer Guide, "Testing Lambda container image locally" and "Lambda quotas"; RFC 9110.
"""

from __future__ import annotations

import base64
import re
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import NamedTuple, Self

import anyio
from yarl import URL

from poller import __version__, errors
from poller.core.service_time import parsed_date
from poller.facts import Emit
from poller.http.http1 import LENGTH_HEADERS, AnswerTooLarge, Received, header_lines, request
from poller.http.pool import Limits, Pool, trusting_the_system
from poller.http.proxied import Proxied
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
    log_tail_of,
    posted,
    timed_out,
    too_large,
)

CONNECT_IN_SECONDS = 5.0
"""The longest wait for a connection, and never more than half of the function's timeout. Then nothing was sent."""

KEEP_ALIVE_IN_SECONDS = 1.5
"""How long an idle connection is kept. Servers keep idle connections for longer (gunicorn 2 s, Node 5 s).

If the server closed the connection first, the answer to a call could be lost.
"""

LARGEST_ANSWER_IN_BYTES = 2 * RESPONSE_LIMIT_IN_BYTES
"""The most bytes that are read of an answer: its head, its body, and the framing of chunks."""

RETRY_AFTER_LIMIT_IN_SECONDS = 900.0
"""The longest pause that a service may ask for: as long as a function on Lambda may run."""

WORDS_LIMIT_IN_BYTES = 256
"""How much of a failed answer's body is shown."""

ERROR_HEADERS = ("error-type", "x-amz-function-error")
"""An answer with one of these headers is the function's error. Newer emulators send the first, Lambda the second."""

EMULATORS_TIMEOUT = re.compile(rb"Task timed out after (\d+)\.00 seconds")
"""The plain text that an emulator answers, with status 200, when the function's timeout has passed."""

BUSY = Throttled(reason="EmulatorBusy", detail="every emulator of the function serves another call")

ZLIB_FORMATS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""The content-encodings that are unpacked, with zlib's number for each. A service may use one without being asked."""


class _Reply(NamedTuple):
    """An answer with its body unpacked, and the url that gave it."""

    endpoint: Endpoint
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def says_its_length(self) -> bool:
        """Return whether the answer itself says where its body ends. A status 204 has no body."""
        return self.status == 204 or any(name in self.headers for name in LENGTH_HEADERS)

    def words(self, invocation: Invocation) -> str:
        """Return the status and the beginning of the body in one line. A body that contains the event is left out."""
        text = self.body[:WORDS_LIMIT_IN_BYTES]
        words = "" if text in invocation.payload else text.decode(errors="replace")
        return " ".join(f"{self.status}: {words}".split()).rstrip(":")

    def error_detail(self, invocation: Invocation) -> str:
        """Return the url's host and port, the status, and the beginning of the body."""
        return f"{_host_and_port(self.endpoint.url)}: {self.words(invocation)}"


class HttpTarget:
    """A function behind one url or several equal ones. Open it with `async with`."""

    def __init__(self, function: Function, *, emit: Emit, clock: Callable[[], float] = time.time) -> None:
        assert isinstance(function.kind, HttpService), function.kind
        self._function = function
        self._headers = function.kind.headers
        self._endpoints = Endpoints(function.kind.urls, function=function.name, emit=emit)
        self._starts: dict[Endpoint, str] = {}
        self._clock = clock

    async def __aenter__(self) -> Self:
        connect_timeout = min(CONNECT_IN_SECONDS, self._function.timeout_in_seconds / 2)
        tls = trusting_the_system()
        limits = Limits(
            connect_timeout_in_seconds=connect_timeout,
            keep_alive_in_seconds=KEEP_ALIVE_IN_SECONDS,
            largest_answer_in_bytes=LARGEST_ANSWER_IN_BYTES,
        )
        self._pool = Pool(tls, limits)
        self._proxied = Proxied(tls, limits)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._pool.aclose()
            await self._proxied.aclose()

    async def invoke(self, invocation: Invocation) -> Response:
        """Call the function once, as `ports.Target` says. Try one url after the other, until one takes the call."""
        refused: dict[Endpoint, Throttled | Unreachable] = {}
        while True:
            async with self._endpoints.turn(but=refused) as endpoint:
                if endpoint is None:
                    return _worth_telling(list(refused.values())) if refused else BUSY
                response = await self._call(endpoint, invocation)
                self._judge(endpoint, response)
            if not isinstance(response, Throttled | Unreachable):
                return response
            refused[endpoint] = response

    def _judge(self, endpoint: Endpoint, response: Response) -> None:
        """Suspend the url if the response shows that it failed, else end its suspension."""
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
            received = await self._send(endpoint, invocation)
            body = _unpacked(received)
        except AnswerTooLarge:
            return too_large()
        except errors.Unreachable as error:
            return self._without_answer(endpoint, invocation, error)
        except errors.Rejected as error:
            return Unreachable(reason=f"the request cannot be made: {error}")
        if len(body) > RESPONSE_LIMIT_IN_BYTES:
            return too_large()
        return self._understood(_Reply(endpoint, received.status, received.headers, body), invocation)

    async def _send(self, endpoint: Endpoint, invocation: Invocation) -> Received:
        """Send the event, and return the answer.

        Raises errors.Unreachable if no answer comes, and errors.Rejected if no valid request can be made.
        """
        timeout_in_seconds = self._function.timeout_in_seconds
        headers = _headers(endpoint, invocation)
        if endpoint.proxy is None:
            message = request(self._start(endpoint), headers, invocation.payload)
            return await self._pool.send(endpoint.origin, message, timeout_in_seconds=timeout_in_seconds)
        return await self._proxied.send(
            str(endpoint.url),
            str(endpoint.proxy),
            self._headers_of_all(endpoint) | headers,
            invocation.payload,
            timeout_in_seconds=timeout_in_seconds,
        )

    def _start(self, endpoint: Endpoint) -> str:
        """Return the part of a request's head that is the same for all calls of a url."""
        start = self._starts.get(endpoint)
        if start is None:
            line = f"POST {endpoint.url.raw_path_qs} HTTP/1.1\r\n"
            start = self._starts[endpoint] = line + header_lines(self._headers_of_all(endpoint))
        return start

    def _headers_of_all(self, endpoint: Endpoint) -> dict[str, str]:
        """Return the headers of every call of a url.

        Headers in the settings override the others, in upper or lower case.
        """
        headers = {
            "host": endpoint.url.host_port_subcomponent or "",
            "user-agent": f"poller/{__version__}",
            "accept": "*/*",
            "accept-encoding": "identity",
            "content-type": "application/json",
        }
        if endpoint.url.user is not None or endpoint.url.password is not None:
            user = f"{endpoint.url.user or ''}:{endpoint.url.password or ''}"
            headers["authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
        return headers | {name.lower(): value for name, value in self._headers.items()}

    def _without_answer(self, endpoint: Endpoint, invocation: Invocation, error: errors.Unreachable) -> Response:
        if error.code == "ConnectionTimeoutError":
            return Unreachable(reason=f"no connection to {_host_and_port(endpoint.proxy or endpoint.url)} in time")
        if not error.was_sent:
            return Unreachable(reason=str(error))
        if error.code == "TimeoutError":
            return timed_out(invocation.request_id, self._function.timeout_in_seconds)
        return LostAnswer(reason=str(error))

    def _understood(self, reply: _Reply, invocation: Invocation) -> Response:
        if reply.status in (429, 503):
            there = parsed_date(reply.headers.get("date", ""))
            now = self._clock() if there is None else there
            pause = retry_after(reply.headers.get("retry-after"), now=now)
            return Throttled(reason=f"HTTP.{reply.status}", retry_after=pause, detail=reply.error_detail(invocation))
        if reply.status == 407:  # only a proxy answers 407; its body is not shown
            return Unreachable(reason="HTTP.407", detail=f"{_host_and_port(reply.endpoint.url)}: refused by the proxy")
        if reply.endpoint.is_emulator:
            return _emulators_answer(reply, invocation)
        if 200 <= reply.status < 300:
            return _answered(reply, invocation)
        return _http_error(reply, invocation)


def retry_after(value: str | None, *, now: float) -> float | None:
    """Return the pause in seconds that a Retry-After header asks for, or None if it has neither a number nor a date.

    `now` is the time on the clock of the server that wrote the header.
    """
    if value is None:
        return None
    try:
        seconds = float(value) if value.isdecimal() else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_LIMIT_IN_SECONDS)


def _host_and_port(url: URL) -> str:
    return f"{url.raw_host}:{url.port}"


def _headers(endpoint: Endpoint, invocation: Invocation) -> dict[str, str]:
    """Return the headers that belong to one invocation."""
    headers = {
        "x-amzn-requestid": invocation.request_id,
        "lambda-runtime-aws-request-id": invocation.request_id,
        "x-poller-attempt": str(invocation.attempt),
    }
    if invocation.mapping is not None:
        headers["x-poller-mapping"] = invocation.mapping
    if invocation.shard_id is not None:
        headers["x-poller-shard-id"] = invocation.shard_id
    if invocation.fencing_token is not None:
        headers["x-poller-fencing-token"] = str(invocation.fencing_token)
    if (endpoint.is_emulator or invocation.mapping is None) and (context := client_context(invocation)):
        headers["x-amz-client-context"] = base64.b64encode(context.encode()).decode()
    if invocation.mapping is None:
        headers |= _headers_of_a_call(invocation)
    return headers


def _headers_of_a_call(invocation: Invocation) -> dict[str, str]:
    """Return the headers that only events and calls of the Invoke API have."""
    headers = {
        "x-amzn-trace-id": invocation.trace,
        "traceparent": invocation.traceparent,
        "lambda-runtime-invoked-function-arn": invocation.invoked_arn or "",
        "x-amz-log-type": "Tail" if invocation.wants_log_tail else "",
    }
    return {name: value for name, value in headers.items() if value}


def _unpacked(received: Received) -> bytes:
    """Return the body without its content-encoding, at most one byte more than a response may have.

    Raises errors.Unreachable if the body cannot be unpacked, or if more bytes follow its packed part: they might be a
    second part, which names the messages that failed.
    """
    encoding = received.headers.get("content-encoding", "identity").lower()
    if encoding == "identity" or not received.body:
        return received.body
    if encoding not in ZLIB_FORMATS:
        raise _unreadable()
    unpacking = zlib.decompressobj(ZLIB_FORMATS[encoding])
    try:
        body = unpacking.decompress(received.body, RESPONSE_LIMIT_IN_BYTES + 1)
    except zlib.error as error:
        raise _unreadable() from error
    if (unpacking.unused_data or not unpacking.eof) and len(body) <= RESPONSE_LIMIT_IN_BYTES:
        raise _unreadable()
    return body


def _unreadable() -> errors.Unreachable:
    text = "the answer's content-encoding cannot be read"
    return errors.Unreachable(text, code="UnusableAnswer", was_sent=True)


def _answered(reply: _Reply, invocation: Invocation) -> Answered:
    log_tail = log_tail_of(reply.headers) if invocation.wants_log_tail else ""
    return Answered(reply.body, log_tail=log_tail, is_whole=bool(reply.body) or reply.says_its_length)


def _emulators_answer(reply: _Reply, invocation: Invocation) -> Response:
    """Return the response that an emulator's answer means. An answer with status 200 may be a failure."""
    is_error = is_error_document(reply.body)
    if any(name in reply.headers for name in ERROR_HEADERS) or (is_error and reply.status in (200, 502)):
        error = posted(reply.body, error_type=reply.headers.get("error-type"))
        return replace(error, log_tail=log_tail_of(reply.headers))
    if reply.status == 200:
        if timeout := EMULATORS_TIMEOUT.match(reply.body):
            return timed_out(invocation.request_id, float(timeout[1]))
        return _answered(reply, invocation)
    if reply.status == 502:
        return exited(invocation.request_id, None)
    if reply.status in (400, 500, 504):
        return Unreachable(reason=f"HTTP.{reply.status}", detail=reply.error_detail(invocation))
    return _http_error(reply, invocation)


def _http_error(reply: _Reply, invocation: Invocation) -> FunctionError | TooLarge:
    error_type, message = f"HTTP.{reply.status}", reply.words(invocation)
    if reply.status == 413:
        return TooLarge(error_type=error_type, message=message)
    return FunctionError(error_type=error_type, message=message, payload=reply.body)


def _worth_telling(answers: list[Throttled | Unreachable]) -> Throttled | Unreachable:
    """Return a throttle if one of these responses is one, else the last response. Every url refused the invocation."""
    return next((one for one in answers if isinstance(one, Throttled)), answers[-1])
