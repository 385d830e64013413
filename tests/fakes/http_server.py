"""Which HTTP server do tests use? A small one on a free loopback port, which answers with the test's handler.

    async with http_server(handler) as server:
        ... server.url, server.requests, server.connections ...

The handler is a coroutine function. It gets a `Request` and returns a `Reply`, or a `Drop` to close the connection
without an answer. A handler may wait without limit. If the client disconnects, the handler is cancelled, and
`server.abandoned` counts the request.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple


class Request(NamedTuple):
    """A request. `target` is the path and query as the client sent them. Header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Drop:
    """An answer that is no HTTP: the server sends these bytes, and then closes the connection."""

    raw: bytes = b""


TURNS_UNTIL_SERVED = 5
"""More turns of the event loop than there are between an accepted connection and the start of its coroutine."""

Handler = Callable[[Request], Awaitable[Reply | Drop]]


class HttpServer:
    """A running server.

    `connections` counts all connections so far, `abandoned` the requests whose client disconnected.
    """

    def __init__(self, handler: Handler) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self.connections = 0
        self.abandoned = 0
        self._handler = handler
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, until either side closes it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = writer
        self.connections += 1
        try:
            while (request := await read_request(reader, writer)) is not None:
                self.requests.append(request)
                answer = await self._handle(request, reader)
                if answer is None:
                    break
                writer.write(answer.raw if isinstance(answer, Drop) else rendered(answer))
                await writer.drain()
                if isinstance(answer, Drop):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.abandoned += 1
        finally:
            writer.close()
            del self._tasks[task]

    async def _handle(self, request: Request, reader: asyncio.StreamReader) -> Reply | Drop | None:
        """Return the handler's answer, or None if the client disconnected first."""
        handling = asyncio.ensure_future(self._handler(request))
        hanging_up = asyncio.ensure_future(reader.read(1))  # clients here never send the next request early
        try:
            await asyncio.wait([handling, hanging_up], return_when=asyncio.FIRST_COMPLETED)
            if handling.done():
                return handling.result()
            self.abandoned += 1
            return None
        finally:
            for future in (handling, hanging_up):
                future.cancel()
            await asyncio.gather(handling, hanging_up, return_exceptions=True)

    async def close(self) -> None:
        """Close the server and wait for the end of every connection.

        A connection that is open after the end of the event loop would make a later test fail.
        """
        tasks = dict(self._tasks)
        for task, writer in tasks.items():
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*tasks, *[writer.wait_closed() for writer in tasks.values()], return_exceptions=True)


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None = None) -> Request | None:
    """Return the next request of a connection, or None at its end. A body needs a Content-Length.

    With a writer, `Expect: 100-continue` is answered.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, target, _ = first.split(" ")
    if writer is not None and headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return Request(method, target, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def rendered(reply: Reply) -> bytes:
    headers = {"Content-Length": str(len(reply.body)), **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} -", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + reply.body


@asynccontextmanager
async def http_server(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpServer]:
    server = HttpServer(handler)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        await close(listening)
        await server.close()


async def close(listening: asyncio.Server) -> None:
    """Accept no more connections, wait until each accepted connection has its coroutine, and then close the server.

    `Server.close` forgets a connection without a coroutine. Its socket would never be closed, and its ResourceWarning
    would make a later test fail.
    """
    loop = asyncio.get_running_loop()
    for listener in listening.sockets:
        loop.remove_reader(listener.fileno())  # asyncio's own loop now accepts no more; uvloop needs no such step
    for _ in range(TURNS_UNTIL_SERVED):
        await asyncio.sleep(0)
    listening.close()
