"""Which requests does the server of Lambda's API refuse, and what does it send to the client?

    not HTTP, or a head that is too long ──> refused, and the connection is closed
    head ── another site, wrong host, unknown key ──> refused
      └──> body, up to its limit ── wrong signature ──> refused
             └──> routes.py ──> answer, or error in AWS's form

A request from a web page of another site gets 403, and a request for a host that is not allowed gets 421, as in admin/.
With [daemon] api_keys every request must be signed. Without them, signatures are ignored, and the settings allow the
server to listen on loopback only.
A call continues if its client closes the connection, as on AWS.
At the daemon's stop, the server accepts no connection any more, and calls in flight may finish within the grace.

A connection carries one request after another. A client has 30 seconds to send a request, without the time of the
call itself, and 30 seconds before it begins the next request.
"""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

import anyio
import orjson
from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from poller.admin.connections import LONGEST_SECONDS, Connections
from poller.admin.guard import ANOTHER_SITE, WRONG_HOST
from poller.admin.hosts import is_allowed
from poller.admin.listening import Address
from poller.disclosure import safe_text
from poller.errors import PollerError
from poller.facts import ApiRequestFailed, ApiRequestRejected, Emit
from poller.http.another_site import is_of_another_site
from poller.http.request_body import read_body
from poller.lambda_api.errors import ApiError, internal_error, invalid_content, refused_by_guard, too_large, unavailable
from poller.lambda_api.exchange import Answer, Request
from poller.lambda_api.invoking import MAXIMUM_PAYLOAD_IN_BYTES
from poller.lambda_api.routes import Routes
from poller.lambda_api.signatures import Head, signature_of
from poller.model.ids import RequestId

OPTION = "daemon.api_listen"

MAXIMUM_CONNECTIONS = 256
"""How many connections the server has at once. We chose it: an SDK opens a connection for each of its concurrent calls,
and the payloads of 256 calls need 1.5 GB at most."""

LONGEST_CALL_IN_SECONDS = 100_000.0
"""How long a call may take: more than twice the longest timeout, because a call may wait as long as it may run."""

_SHUTDOWN_SECONDS = 1.0
"""How long the server waits for answers that are being sent when it closes."""

_DISCONNECTED = (ConnectionError, ClientError, HttpProcessingError)
"""The errors of reading a body: the client has closed the connection, or its bytes are not HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The settings that decide which requests are accepted. `hosts` are the allowed host names, in lower case.

    `keys` maps access keys to secrets, or is None if signatures are ignored. `region` is the region that a signature
    must have. None allows any region.
    """

    hosts: Collection[str] = ()
    keys: Mapping[str, str] | None = field(default=None, repr=False)
    region: str | None = None


@asynccontextmanager
async def serve(listeners: Sequence[socket.socket], api: Api, *, stopping: anyio.Event) -> AsyncIterator[Address]:
    """Answer requests at these sockets until the block is left, and close them. Yields the address of the first one.

    Once `stopping` is set, no connection is accepted.
    """
    with ExitStack() as stack:
        for listener in listeners:
            stack.enter_context(listener)
        connections = Connections(MAXIMUM_CONNECTIONS)
        server = web.Server(lambda request: api.respond(request, connections))

        def new_connection() -> _Connection:
            return _Connection(
                server,
                loop=asyncio.get_running_loop(),
                access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for no access log
                auto_decompress=False,  # a client signs the compressed body
            )

        try:
            with connections.keeping_descriptors():
                async with anyio.create_task_group() as tasks:

                    async def accept_until_stop() -> None:
                        async with anyio.create_task_group() as accepting:
                            for listener in listeners:
                                accepting.start_soon(connections.take, listener, new_connection)
                            await stopping.wait()
                            accepting.cancel_scope.cancel()
                        for listener in listeners:
                            listener.close()

                    tasks.start_soon(accept_until_stop)
                    host, port, *_ = listeners[0].getsockname()
                    yield host, port
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                server.pre_shutdown()  # a connection without a request closes at once
                await server.shutdown(_SHUTDOWN_SECONDS)


class _Connection(web.RequestHandler):
    """A connection of the server. If aiohttp cannot parse a request, the answer is an error in AWS's form."""

    __slots__ = ()

    def handle_error(self, *_: object, **__: object) -> web.StreamResponse:
        """Return an error in AWS's form. aiohttp's own answer would show bytes of the request."""
        error = invalid_content("The request is not valid HTTP, or its head is too long.")
        answer = _error(error, RequestId(str(uuid.uuid4())))
        answer.force_close()
        return answer


class Api:
    """Lambda's API over HTTP. `access` is called for each request, because a reload may change the settings."""

    def __init__(
        self, routes: Routes, *, access: Callable[[], Access], emit: Emit, clock: Callable[[], float] = time.time
    ) -> None:
        self._routes = routes
        self._access = access
        self._emit = emit
        self._clock = clock

    async def respond(self, request: web.BaseRequest, connections: Connections) -> web.StreamResponse:
        """Return the answer to any request; an error has AWS's form."""
        request_id = RequestId(str(uuid.uuid4()))
        try:
            with connections.working(request.transport, LONGEST_SECONDS):
                let_in = await self._let_in(request, request_id)
            with connections.working(request.transport, LONGEST_CALL_IN_SECONDS):
                return _response(await self._routes.answer(let_in), request_id)
        except ApiError as error:
            if error.status in (403, 421):
                self._emit(ApiRequestRejected(error.code, str(error)[:256]))
            return _error(error, request_id)
        except PollerError as error:
            return _error(unavailable(safe_text(error)), request_id)
        except _DISCONNECTED:
            return _error(invalid_content("The body of the request cannot be read."), request_id)
        except Exception as error:  # an error met in one request must not end the others
            self._emit(ApiRequestFailed(request_id, error))
            return _error(internal_error(), request_id)

    async def _let_in(self, request: web.BaseRequest, request_id: RequestId) -> Request:
        """Return the request with its body. Raises ApiError if the request is refused."""
        access = self._access()
        _check_origin(request, access.hosts)
        signature = None
        if access.keys is not None:
            headers = [(name.lower(), value) for name, value in request.headers.items()]
            head = Head(request.method, request.raw_path, headers)
            signature = signature_of(head, keys=access.keys, region=access.region, now=self._clock())
        path, _, query = request.raw_path.partition("?")
        body = await _body(request)
        if signature is not None:
            signature.check(body)
        return Request(
            method=request.method,
            segments=[_decoded(segment) for segment in path.split("/") if segment],
            query={_decoded(name): _decoded(value) for name, _, value in _pairs(query)},
            headers={name.lower(): _plain(value) for name, value in request.headers.items()},
            body=body,
            request_id=request_id,
        )


def _check_origin(request: web.BaseRequest, allowed: Collection[str]) -> None:
    if not is_allowed(request.headers.getall("Host", ()), allowed):
        raise refused_by_guard(WRONG_HOST.status, WRONG_HOST.reason)
    if is_of_another_site(request):
        raise refused_by_guard(ANOTHER_SITE.status, ANOTHER_SITE.reason)


async def _body(request: web.BaseRequest) -> bytes:
    """Return the body. Raises ApiError if it is too large for any call."""
    size, content = await read_body(request, maximum_bytes=MAXIMUM_PAYLOAD_IN_BYTES)
    if content is None:
        raise too_large(size, "RequestResponse", MAXIMUM_PAYLOAD_IN_BYTES)
    return content


def _pairs(query: str) -> Iterable[tuple[str, str, str]]:
    return (pair.partition("=") for pair in query.split("&") if pair)


def _decoded(text: str) -> str:
    """Return a part of a path or query without percent-encoding. Bytes that are not UTF-8 are replaced."""
    return unquote_to_bytes(text.encode(errors="surrogateescape")).decode(errors="replace")


def _plain(text: str) -> str:
    """Return a header's value. Bytes that are not UTF-8 are replaced."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _error(error: ApiError, request_id: RequestId) -> web.Response:
    headers = {"X-Amzn-ErrorType": error.code}
    if error.retry_after_in_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_in_seconds)
    return _response(Answer(status=error.status, body=orjson.dumps(error.body), headers=headers), request_id)


def _response(answer: Answer, request_id: RequestId) -> web.Response:
    headers = {
        "Content-Type": answer.content_type,
        "X-Amzn-RequestId": request_id,
        "Server": "poller",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return web.Response(status=answer.status, body=answer.body, headers={**headers, **answer.headers})
