"""What does a child process see of the Runtime API? Its own loopback port, and one invocation at a time.

    starting ── next ──> waiting ── (offer) ──> running ── response, error ──> answered ── next ──> waiting …
        └── init/error ──> failed

A runtime client knows only `host:port`, so each child has a port of its own. Other processes of the host can find that
port, too. Therefore a connection is served only if a process of the child's session holds its other end.
A page of another site can make a browser of this session send requests, so such requests are refused, too.
`next` is answered when there is an invocation. Wrong calls are refused in AWS's words:

    another request's id, or a second answer   400 InvalidRequestID
    a call out of turn                         403 InvalidStateTransition
    a request of another site's page           403 AnotherSite
    an answer of more than 6 MB                413; the invocation fails with Function.ResponseSizeTooLarge

Source: AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes".
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Never

import anyio
import anyio.to_thread
import orjson
from aiohttp import web

from poller.facts import Emit, RejectionReason, RuntimeApiConnectionRejected
from poller.http.another_site import is_of_another_site
from poller.http.request_body import read_body
from poller.model.function import Function
from poller.model.ids import RequestId
from poller.model.invocation import Answered, FunctionError, Invocation, Response
from poller.targets.client_context import client_context
from poller.targets.failures import RESPONSE_LIMIT_IN_BYTES, posted, too_large
from poller.targets.runtime.peer import Origin, origin
from poller.targets.runtime.sessions import is_supported

PREFIX = "/2018-06-01/runtime/"
HEADER_LIMIT_IN_BYTES = 2**21
"""AWS's Python client sends up to 1 MB of X-Ray cause in one header."""

IDLE_CONNECTION_IN_SECONDS = 7 * 24 * 3600.0
"""The time after which aiohttp closes an idle connection. A connection is idle while the handler works.

So the time is longer than any invocation; the daemon closes the connections when the child ends.
"""

CONNECTION_LIMIT = 16
"""Connections of one child. A client needs one or two. Each takes a descriptor and may send an answer of 6 MB."""

CLOSE_IN_SECONDS = 1.0
"""How long the handlers of closed connections may take to end. aiohttp takes zero for no limit."""

ACCEPT_PAUSE_IN_SECONDS = 0.1
"""The pause after a connection that could not be accepted."""

FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Handover:
    """One invocation that a child process is to run.

    `taken` is set when the child has the invocation. `settled` is set when `response` is final, and sets `taken` too.
    A final `response` of None means that the child ended before it took the invocation. Then another child may run it.
    """

    __slots__ = ("invocation", "response", "settled", "taken")

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
        self.response: Response | None = None
        self.taken = anyio.Event()
        self.settled = anyio.Event()

    def settle(self, response: Response | None) -> None:
        """Set the response, unless it is final already."""
        if not self.settled.is_set():
            self.response = response
            self.taken.set()
            self.settled.set()


class RuntimeApi:
    """The Runtime API of one child process: `offer` gives the child an invocation, and the child's calls settle it.

    `has_asked` is true once the child has asked for an invocation, which ends its init.
    `is_asking` is true while the child waits for an invocation.
    """

    def __init__(
        self, function: Function, *, before_event: Callable[[Invocation], Awaitable[None]], emit: Emit
    ) -> None:
        """Make the API of a child process.

        `before_event` is awaited with each invocation, before the child gets the event.
        """
        self.has_asked = False
        self._function = function
        self._before_event = before_event
        self._emit = emit
        self._init_error: FunctionError | None = None
        self._end_error: Callable[[RequestId], FunctionError] | None = None
        self.is_asking = False
        self._offered: Handover | None = None
        self._offer_came = anyio.Event()
        self._running: Handover | None = None

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Open a free loopback port and give its `host:port`. Connections wait until `serve` accepts them."""
        with socket.create_server(("127.0.0.1", 0)) as self._listener:
            self._listener.setblocking(False)
            yield "{}:{}".format(*self._listener.getsockname())

    async def serve(self, session: int) -> Never:
        """Answer the processes of this session (the child process and those that it started), until cancelled.

        Other processes are refused. At the end, all connections are closed, even if some of these processes still run.
        """
        server = web.Server(
            self._answer,
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=IDLE_CONNECTION_IN_SECONDS,
            max_field_size=HEADER_LIMIT_IN_BYTES,
        )
        try:
            while True:
                await self._admit(await self._accepted(), server, session)
        finally:
            for protocol in server.connections:
                if protocol.transport is not None:
                    protocol.transport.abort()  # this also ends the handler of the connection
            with anyio.CancelScope(shield=True):
                await server.shutdown(CLOSE_IN_SECONDS)

    async def _accepted(self) -> socket.socket:
        while True:
            await anyio.wait_readable(self._listener)  # asyncio's sock_accept, when cancelled, may lose a connection
            try:
                connection, _ = self._listener.accept()
            except OSError:  # no descriptor is left, or the client has gone
                await anyio.sleep(ACCEPT_PAUSE_IN_SECONDS)
            else:
                connection.setblocking(False)
                return connection

    async def _admit(self, connection: socket.socket, server: web.Server, session: int) -> None:
        with ExitStack() as stack:
            stack.enter_context(connection)
            reason = await _reason_to_refuse(connection, server, session)
            if reason is None:
                stack.pop_all()
                await asyncio.get_running_loop().connect_accepted_socket(server, connection)
                return
            with suppress(OSError):
                connection.send(FORBIDDEN)
        self._emit(RuntimeApiConnectionRejected(function=self._function.name, child_pid=session, reason=reason))

    def offer(self, handover: Handover) -> None:
        """Give the child process its next invocation as soon as the child asks for one.

        A child has one invocation at a time.
        """
        assert self._offered is None, "a child has one invocation at a time"
        self._offered = handover
        if self._init_error is not None:
            handover.settle(self._init_error)
        elif self._end_error is not None:
            self.end(self._end_error)
        self._offer_came.set()

    def end(self, error: Callable[[RequestId], FunctionError]) -> None:
        """Settle the child process's invocation after the end of the child. The invocation fails with this error.

        If the child was initialised and had not taken the invocation, the response is None: another child may run it.
        """
        self._end_error = error
        if self._running is not None:
            self._running.settle(error(self._running.invocation.request_id))
        elif self._offered is not None:
            self._offered.settle(None if self.has_asked else error(self._offered.invocation.request_id))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if is_of_another_site(request):
            return _error_answer(403, "AnotherSite", "A page of another site sent this request")
        if not request.path.startswith(PREFIX):
            return web.Response(status=404)
        match (request.method, *request.path.removeprefix(PREFIX).split("/")):
            case "GET", "invocation", "next":
                return await self._next()
            case "POST", "invocation", request_id, "response":
                return await self._response(request, request_id)
            case "POST", "invocation", request_id, "error":
                return await self._error(request, request_id)
            case "POST", "init", "error":
                return await self._init_failure(request)
            case _:
                return web.Response(status=404)

    async def _next(self) -> web.Response:
        if self.is_asking or self._running is not None or self._init_error is not None:
            return _out_of_turn("ask for an invocation")
        self.has_asked = self.is_asking = True
        try:
            await self._offer_came.wait()
            assert self._offered is not None, "an offer came without an invocation"
            await self._before_event(self._offered.invocation)
        finally:
            self.is_asking = False
        self._offer_came = anyio.Event()
        handover, self._offered = self._offered, None
        if handover.settled.is_set():
            return _out_of_turn("ask for an invocation")  # the child has ended while it waited
        self._running = handover
        handover.taken.set()
        return self._event(handover.invocation)

    def _event(self, invocation: Invocation) -> web.Response:
        now = time.time()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((now + self._function.timeout_in_seconds) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.invoked_arn or str(self._function.arn),
            "Lambda-Runtime-Trace-Id": invocation.trace
            or f"Root=1-{int(now):08x}-{random.getrandbits(96):024x};Sampled=0",
            "Content-Type": "application/json",
        }
        if context := client_context(invocation):
            headers["Lambda-Runtime-Client-Context"] = context
        return web.Response(body=invocation.payload, headers=headers)

    async def _response(self, request: web.BaseRequest, request_id: str) -> web.Response:
        if request.headers.get("Lambda-Runtime-Function-Response-Mode", "streaming") != "streaming":
            return _error_answer(400, "InvalidFunctionResponseMode", "Invalid function response mode")
        return await self._settle(request, request_id, Answered)

    async def _error(self, request: web.BaseRequest, request_id: str) -> web.Response:
        return await self._settle(request, request_id, lambda body: _posted(request, body))

    async def _settle(
        self, request: web.BaseRequest, request_id: str, response_of: Callable[[bytes], Response]
    ) -> web.Response:
        if not self.has_asked:
            return _out_of_turn("answer an invocation")
        running = self._running
        if running is None or running.invocation.request_id != request_id:
            return _invalid_request_id()
        body = await _body(request)
        if running.settled.is_set():
            return _invalid_request_id()
        self._running = None
        running.settle(too_large() if body is None else response_of(body))
        return _accepted(body)

    async def _init_failure(self, request: web.BaseRequest) -> web.Response:
        if self.has_asked or self._init_error is not None:
            return _out_of_turn("report an init error")
        body = await _body(request)
        self._init_error = too_large() if body is None else _posted(request, body)
        if self._offered is not None:
            self._offered.settle(self._init_error)
        return _accepted(body)


async def _reason_to_refuse(connection: socket.socket, server: web.Server, session: int) -> RejectionReason | None:
    if len(server.connections) >= CONNECTION_LIMIT:
        return "too_many_connections"
    if not is_supported() or (found := await _origin(connection, session)) == "session":
        return None
    return found


async def _origin(connection: socket.socket, session: int) -> Origin:
    while True:
        try:
            return await anyio.to_thread.run_sync(origin, connection, session)
        except OSError:  # no descriptor is left
            await anyio.sleep(ACCEPT_PAUSE_IN_SECONDS)


async def _body(request: web.BaseRequest) -> bytes | None:
    """Return the request's body, or None if it is larger than an answer may be."""
    return (await read_body(request, maximum_bytes=RESPONSE_LIMIT_IN_BYTES)).content


def _posted(request: web.BaseRequest, body: bytes) -> FunctionError:
    return posted(body, error_type=request.headers.get("Lambda-Runtime-Function-Error-Type"))


def _accepted(body: bytes | None) -> web.Response:
    if body is None:
        message = f"Exceeded maximum allowed payload size ({RESPONSE_LIMIT_IN_BYTES} bytes)."
        return _error_answer(413, "RequestEntityTooLarge", message)
    return web.Response(status=202, body=b'{"status":"OK"}\n', content_type="application/json")


def _invalid_request_id() -> web.Response:
    return _error_answer(400, "InvalidRequestID", "Invalid request ID")


def _out_of_turn(what: str) -> web.Response:
    return _error_answer(403, "InvalidStateTransition", f"It is not this runtime's turn to {what}")


def _error_answer(status: int, error_type: str, message: str) -> web.Response:
    body = orjson.dumps({"errorMessage": message, "errorType": error_type})
    return web.Response(status=status, body=body, content_type="application/json")
