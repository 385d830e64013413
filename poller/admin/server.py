"""What does the daemon answer over HTTP? Pages to read, and calls that change something.

    /metrics      Prometheus' text format, or OpenMetrics where the Accept header asks for it
    /healthz      200 while the event loop turns
    /readyz       503 while a mapping is starting or the daemon stops, else 200; the body has the state of each mapping
    /             the state of each mapping as a page for people, with forms that change something (`acting.py`)
    /api/status   the body of /readyz, with more numbers, and always 200 (`status_report.py`)
    /api/scaling  how much work waits, for an autoscaler (`scaling.py`)
    /api/queues   how many messages the queues have
    /api/shards   all blocked shards of one mapping: /api/shards?mapping=NAME
    /api/positions, /api/events   the stored positions of one mapping, and the stuck events of one function
    /api/openapi.json   the description of all calls for programs (`openapi.py`)
    /api/...      changes (`calls.py`)

The control socket serves Lambda's Invoke API, too, for `poller invoke`. At /api/daemon it names the settings file that
its daemon runs, because daemons that share a state file may share this socket's path. It also names the file of events
that the daemon uses, because the settings file may have named another one since the daemon's start.
Pages allow only GET and HEAD, changes only POST. Errors and the answers to changes are JSON.
Reading needs no login: no page shows a secret, and an operator who listens beyond 127.0.0.1 decides who may read.
Beyond loopback, a function's own words and the keys of records need the token or a login, because they may quote data.
A change may need a token, and no page of another site may ask for anything (`guard.py`).
A client that calls the server by a name that is not allowed gets 421 (`hosts.py`). /metrics and /healthz allow any
name, for scrapers and probes.
Each connection carries one request (`connections.py`).
If a page cannot be rendered, the answer is 500, the log has the error, and the daemon continues.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import anyio
import anyio.lowlevel
import orjson
from aiohttp import web
from anyio import to_thread
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from poller.admin import calls, changing, openapi, scaling
from poller.admin.acting import Acting
from poller.admin.changing import Call, Changes
from poller.admin.checking import Guard
from poller.admin.connections import MAXIMUM_CONNECTIONS, Connections
from poller.admin.control import DAEMON_PATH, listening_at, path_at_start
from poller.admin.guard import Access, GetAccess
from poller.admin.listening import Address, bound
from poller.admin.page.view import Query
from poller.admin.readiness import readiness, shards_report
from poller.admin.rendering import Rendering
from poller.admin.scaling import Backlogs
from poller.admin.sessions import Sessions
from poller.admin.status_report import status_report
from poller.admin.viewing import PageSources, Viewing
from poller.core.envelope import encode
from poller.core.names import other_names
from poller.errors import PollerError
from poller.facts import Emit
from poller.model.sharing import SharingStatus
from poller.model.status import MappingStatus, WorkerStatus

Statuses = Callable[[], Sequence[MappingStatus]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

INVOKE_PATH = "/2015-03-31/functions/{name}/invocations"

OPTION = "daemon.http_listen"

_LOG = logging.getLogger("aiohttp.server")
"""The logger to which aiohttp writes the same errors."""

_SHUTDOWN_SECONDS = 1.0
"""How long an answer may still take when the server closes."""

_HEADERS = {
    "Connection": "close",  # aiohttp does not send it, because `force_close` is called after aiohttp asks for it
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",  # with no-referrer, a browser names no origin in our own forms either
    "X-Content-Type-Options": "nosniff",
}


class Invoke(Protocol):
    """Answers a request of Lambda's Invoke API (`lambda_api.server.Api`)."""

    async def __call__(self, request: web.Request, /, *, connections: Connections) -> web.StreamResponse: ...


class Pages(NamedTuple):
    """The values that the pages show.

    `statuses` returns one status for each mapping in the settings, also during the start. It is called in the event
    loop.
    `registry` is read in a worker thread.
    `backlogs` answers /api/scaling and /api/queues. If it is None, there are no such pages.
    `workers` returns the status of each worker process, or nothing if the daemon is one process.
    `refresh` is called before each page, and waits until the values are up to date.
    `page` has what only the page for people shows.
    `sharing` returns how the workers share the leases of the state, or None before the state is open.
    """

    registry: CollectorRegistry
    statuses: Statuses
    backlogs: Backlogs | None = None
    workers: Callable[[], Sequence[WorkerStatus]] = tuple
    refresh: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint
    page: PageSources = PageSources()
    sharing: Callable[[], SharingStatus | None] = lambda: None


@asynccontextmanager
async def serve(
    listen: Address, pages: Pages, *, access: GetAccess, changes: Changes, emit: Emit
) -> AsyncIterator[Address]:
    """Answer requests until the end of the block. Yields the address in use.

    For port 0, it has the port that the system chose. Each change that is made is emitted as a fact.

    Raises CannotListen if the address cannot be bound.
    """
    with ExitStack() as stack:
        listeners = [stack.enter_context(listener) for listener in await bound(listen, option=OPTION)]
        is_loopback = all(ip_address(listener.getsockname()[0]).is_loopback for listener in listeners)
        async with _serving(listeners, pages, _guard(access, is_loopback=is_loopback), changes, emit, Connections()):
            host, port, *_ = listeners[0].getsockname()
            yield host, port


@asynccontextmanager
async def serve_control(
    paths: Sequence[Path],
    pages: Pages,
    *,
    changes: Changes,
    emit: Emit,
    invoke: Invoke | None = None,
    settings_file: Path | None = None,
    event_queue: str | None = None,
    maximum_connections: int = MAXIMUM_CONNECTIONS,
) -> AsyncIterator[None]:
    """Answer requests at Unix sockets, at all paths where this is possible, until the end of the block.

    No token is needed: only the daemon's user can connect.

    `invoke` answers requests of Lambda's Invoke API, which `poller invoke` sends. If it is None, they are not answered.
    `settings_file` is the file that the daemon runs. If it is None, /api/daemon is not answered.
    `maximum_connections` is how many connections are accepted at once.
    `event_queue` is the address of the daemon's file of events, which never changes while the daemon runs.
    Raises CannotListen if no socket can be made.
    """
    with listening_at(*paths) as listeners:
        guard = _guard(Access, is_loopback=True)
        connections = Connections(maximum_connections)
        async with _serving(listeners, pages, guard, changes, emit, connections, invoke, settings_file, event_queue):
            yield


@asynccontextmanager
async def _serving(
    listeners: Sequence[socket.socket],
    pages: Pages,
    guard: Guard,
    changes: Changes,
    emit: Emit,
    connections: Connections,
    invoke: Invoke | None = None,
    settings_file: Path | None = None,
    event_queue: str | None = None,
) -> AsyncIterator[None]:
    application = _application(pages, guard, changes, connections, emit)
    if invoke is not None:
        application.router.add_post(INVOKE_PATH, partial(invoke, connections=connections))
    if settings_file is not None:

        async def say_which(_request: web.Request) -> web.Response:
            file = await to_thread.run_sync(path_at_start, settings_file)  # each time anew, because links may change
            return _json(200, {"settings": str(file), "event_queue": event_queue, "process": os.getpid()})

        application.router.add_get(DAEMON_PATH, say_which)
    runner = web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        auto_decompress=False,  # no body may have a Content-Encoding, and aiohttp would raise its own errors for one
    )
    await runner.setup()
    assert runner.server is not None, "it is set up"
    try:
        with connections.keeping_descriptors():
            async with anyio.create_task_group() as tasks:
                for listener in listeners:
                    tasks.start_soon(connections.take, listener, runner.server)
                yield
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


def _guard(access: GetAccess, *, is_loopback: bool) -> Guard:
    return Guard(access, is_loopback, Sessions(anyio.current_time))


def _application(pages: Pages, guard: Guard, changes: Changes, connections: Connections, emit: Emit) -> web.Application:
    registry, statuses, backlogs, workers, refresh, page, sharing = pages
    viewing = Viewing(registry, statuses, page, workers=workers, sharing=sharing, refresh=refresh, backlogs=backlogs)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if (denial := guard.denial(request)) is not None:
            wanted = {"WWW-Authenticate": "Bearer"} if denial.status == 401 else None
            return _json(denial.status, {"error": denial.reason}, wanted)
        return await handler(request)

    formats: dict[str, Rendering] = {}

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        if content_type not in formats:
            formats[content_type] = Rendering(partial(encode, registry), refresh)
        return web.Response(body=await formats[content_type].get(), headers={"Content-Type": content_type})

    async def health(_request: web.Request) -> web.Response:
        return _json(200, {"healthy": True})

    async def ready(request: web.Request) -> web.Response:
        await refresh()
        report = readiness(statuses(), workers(), sees_words=guard.viewer(request).sees_words)
        return _json(200 if report["ready"] else 503, report)

    async def status(request: web.Request) -> web.Response:
        await viewing.refresh()
        viewer = guard.viewer(request)
        report = await to_thread.run_sync(
            lambda: orjson.dumps(status_report(viewing.view(viewer, Query()))) + b"\n", abandon_on_cancel=True
        )
        return web.Response(body=report, content_type="application/json")

    async def shards(request: web.Request) -> web.Response:
        name = request.query.get("mapping", "")
        await refresh()
        report = shards_report(name, statuses(), sees_words=guard.viewer(request).sees_words)
        if report is None:
            names = other_names(name, (one.mapping for one in statuses() if one.events is None))
            return _json(404, {"error": f"there is no mapping {name}; {names}"})
        return _json(200, report)

    def listing(find: Callable[[str], Awaitable[Mapping[str, Any]]], parameter: str) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            try:
                return _json(200, await find(request.query.get(parameter, "")))
            except PollerError as error:
                return _json(409, {"error": str(error)})

        return answer

    reads = [read for read in openapi.READS if backlogs is not None or not read.is_optional]

    async def description(_request: web.Request) -> web.Response:
        document = partial(openapi.document, reads, calls.CALLS)  # this takes 7 ms, and few clients ask for it
        return _json(200, await to_thread.run_sync(document, abandon_on_cancel=True))

    def change(call: Call[Any]) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            body, by = await request.read(), guard.requester(request)
            with connections.working(request.transport, changing.LONGEST_SECONDS):
                return _json(*await changing.respond(call, changes, body, by=by, emit=emit))

        return answer

    acting = Acting(
        viewing,
        statuses,
        page.settings,
        guard=guard,
        changes=changes,
        connections=connections,
        emit=emit,
    )
    application = web.Application(middlewares=[_errors_as_json, check], client_max_size=changing.MAXIMUM_BODY_BYTES)
    application.add_routes(
        [
            web.get("/metrics", metrics),
            web.get(openapi.HEALTH.path, health),
            web.get(openapi.READY.path, ready),
            web.get(openapi.STATUS.path, status),
            web.get(openapi.SHARDS.path, shards),
            web.get(openapi.POSITIONS.path, listing(changes.positions, "mapping")),
            web.get(openapi.EVENTS.path, listing(changes.stuck_events, "function")),
            web.get(openapi.PATH, description),
            *(web.post(call.path, change(call)) for call in calls.CALLS),
            *acting.routes(),
        ]
    )
    if backlogs is not None:
        application.add_routes(_scaling(backlogs))
    application.on_response_prepare.append(_add_headers)
    return application


def _scaling(backlogs: Backlogs) -> list[web.RouteDef]:
    async def of_daemon(_request: web.Request) -> web.Response:
        return _json(*scaling.answer(await backlogs.of_daemon()))

    async def of_mapping(request: web.Request) -> web.Response:
        return _json(*scaling.answer(await backlogs.of_mapping(request.match_info["name"])))

    async def of_function(request: web.Request) -> web.Response:
        return _json(*scaling.answer(await backlogs.of_function(request.match_info["name"])))

    async def queues(_request: web.Request) -> web.Response:
        return _json(200, scaling.queues_report(await backlogs.depths()))

    handlers = (of_daemon, of_mapping, of_function)
    routes = [web.get(read.path, handler) for read, handler in zip(openapi.SCALING, handlers, strict=True)]
    return [*routes, web.get(openapi.QUEUES.path, queues)]


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _json(error.status, {"error": error.reason}, allow)
    except Exception:  # a fault of one page must not end the server
        _LOG.exception("Error handling request")
        return _json(500, {"error": "a fault of poller; see its log"})


def _json(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=encode(body) + b"\n", content_type="application/json", headers=headers)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
    response.force_close()
