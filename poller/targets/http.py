"""How is a function reached over HTTP? The event is POSTed, and `http_answers.py` says what the answer means.

If a url is throttled or unreachable, the next url of the function is tried. If no url takes the call, the response is
that of a throttled url, or else that of the last url.

The request carries the invocation's id in X-Amzn-RequestId and in Lambda-Runtime-Aws-Request-Id; the id stays the same
when a batch or an event is retried unchanged. It also carries X-Poller-Attempt, and these headers where they apply:

    X-Poller-Mapping                      the batch of a mapping
    X-Poller-Shard-Id                     a batch of a stream
    X-Poller-Fencing-Token                a batch of a shard that is read under a lease
    X-Amz-Client-Context                  a batch for an emulator; a call of the Invoke API whose client sent one
    X-Amzn-Trace-Id, traceparent          the trace that the event belongs to
    Lambda-Runtime-Invoked-Function-Arn   the function's ARN as the client wrote it
    X-Amz-Log-Type                        the client asks for the log tail, which the answer has in X-Amz-Log-Result

`targets/endpoints.py` chooses the url, and `http/proxies.py` the proxy.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio

from poller import __version__, errors
from poller.facts import Emit
from poller.http.http1 import AnswerTooLarge, Received, header_lines, request
from poller.http.pool import Limits, Pool, trusting_the_system
from poller.http.proxied import Proxied
from poller.model.function import Function, HttpService
from poller.model.invocation import (
    FunctionError,
    Invocation,
    LostAnswer,
    Response,
    Throttled,
    Unreachable,
)
from poller.targets.client_context import client_context
from poller.targets.endpoints import Endpoint, Endpoints
from poller.targets.failures import RESPONSE_LIMIT_IN_BYTES, timed_out, too_large
from poller.targets.http_answers import Reply, host_and_port, meaning, unpacked

CONNECT_IN_SECONDS = 5.0
"""The longest wait for a connection, and never more than half of the function's timeout. Then nothing was sent."""

KEEP_ALIVE_IN_SECONDS = 1.5
"""How long an idle connection is kept. Servers keep idle connections for longer (gunicorn 2 s, Node 5 s).

If the server closed the connection first, the answer to a call could be lost.
"""

LARGEST_ANSWER_IN_BYTES = 2 * RESPONSE_LIMIT_IN_BYTES
"""The most bytes that are read of an answer: its head, its body, and the framing of chunks."""

BUSY = Throttled(reason="EmulatorBusy", detail="every emulator of the function serves another call")


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
                    return _best_explanation(list(refused.values())) if refused else BUSY
                response = await self._call(endpoint, invocation)
                self._judge(endpoint, response)
            if not isinstance(response, Throttled | Unreachable):
                return response
            refused[endpoint] = response

    def _judge(self, endpoint: Endpoint, response: Response) -> None:
        """Suspend the url if the response shows that the url failed. Otherwise, end its suspension."""
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
            body = unpacked(received)
        except AnswerTooLarge:
            return too_large()
        except errors.Unreachable as error:
            return self._without_answer(endpoint, invocation, error)
        except errors.Rejected as error:
            return Unreachable(reason=f"the request cannot be made: {error}")
        if len(body) > RESPONSE_LIMIT_IN_BYTES:
            return too_large()
        return meaning(Reply(endpoint, received.status, received.headers, body), invocation, clock=self._clock)

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
            return Unreachable(reason=f"no connection to {host_and_port(endpoint.proxy or endpoint.url)} in time")
        if not error.was_sent:
            return Unreachable(reason=str(error))
        if error.code == "TimeoutError":
            return timed_out(invocation.request_id, self._function.timeout_in_seconds)
        return LostAnswer(reason=str(error))


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


def _best_explanation(answers: list[Throttled | Unreachable]) -> Throttled | Unreachable:
    """Return the response that describes the failure best: a throttle if there is one, else the last response."""
    return next((one for one in answers if isinstance(one, Throttled)), answers[-1])
