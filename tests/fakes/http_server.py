"""What stands in for an HTTP server? A small one on a free loopback port, which does what a test's handler says.

    async with http_server(handler) as server:
        ... server.url, server.requests, server.connections ...

The handler is a coroutine function: it gets a `Request` and returns a `Reply`, or `Drop` to close the connection
without one. A handler may wait without limit. It is cancelled when the client disconnects, and `server.abandoned`
counts it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple


class Request(NamedTuple):
    """`target` is the path and query as sent. Header names are in lower case."""

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
    """Send these bytes as they are, then close the connection."""

    raw: bytes = b""


TURNS_UNTIL_SERVED = 5
"""More turns of the event loop than there are between an accepted connection and the start of its coroutine."""

Handler = Callable[[Request], Awaitable[Reply | Drop]]


class HttpServer:
    """A running server. `connections` counts all connections so far, `abandoned` the requests that clients gave up."""

    def __init__(self, handler: Handler) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self.connections = 0
        self.abandoned = 0
        self._handler = handler
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side closes it."""
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

        One that outlives the event loop fails a later test.
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
    """Stop accepting, then let each accepted connection be served before the server closes.

    `Server.close` forgets a connection that is accepted and not served yet: its socket is never closed, and the
    ResourceWarning fails some later test.
    """
    loop = asyncio.get_running_loop()
    for listener in listening.sockets:
        loop.remove_reader(listener.fileno())  # asyncio's own loop accepts no more; uvloop loses no connection
    for _ in range(TURNS_UNTIL_SERVED):
        await asyncio.sleep(0)
    listening.close()
