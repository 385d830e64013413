"""Which connection does a request use? The resting one that was used last, or a new one if no connection rests.

The pool has no limit, because other code limits how many calls run at once. It keeps resting connections for each
origin, and closes them before the service would close them.

A service may close a resting connection at the moment when a request is sent on it. If no byte of an answer has come,
a repeatable request is then sent once more, on a new connection. Any other request fails, and its effect is unknown.
A cancelled call closes its connection at once: the next request must not get the answer of the cancelled one, and a
long poll must end.

IPv4 and IPv6 addresses are tried at the same time (RFC 8305, "Happy Eyeballs"), so a broken address costs little time.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections import defaultdict
from functools import cache
from typing import NamedTuple
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

from poller.disclosure import safe_text
from poller.errors import Unreachable
from poller.http.http1 import LARGEST_ANSWER_IN_BYTES, Connection, HungUp, Received
from poller.http.keep_alive import probe_when_silent

DEFAULT_PORTS = {"http": 80, "https": 443}

HAPPY_EYEBALLS_DELAY_IN_SECONDS = 0.25
"""After this time without a connection, the next address is tried, too. Source: RFC 8305."""

CLOSE_TIMEOUT_IN_SECONDS = 1.0
"""How long a server may take for a clean close when the pool closes. After that its connection is aborted."""


@cache
def trusting_the_system() -> ssl.SSLContext:
    """Return a TLS context that trusts the system's certificate authorities. They are read only once."""
    return ssl.create_default_context()


class Limits(NamedTuple):
    """The limits of each connection, direct or through a proxy.

    `connect_timeout_in_seconds` is how long opening a connection may take, including TLS.
    `keep_alive_in_seconds` is how long a connection rests before it is closed. aiobotocore has the same default.
    Services close a connection later.
    `largest_answer_in_bytes` is the limit of an answer's head and body together.
    """

    connect_timeout_in_seconds: float = 5.0
    keep_alive_in_seconds: float = 12.0
    largest_answer_in_bytes: int = LARGEST_ANSWER_IN_BYTES


class Origin(NamedTuple):
    """The server to which a connection leads."""

    host: str
    port: int
    is_tls: bool

    @classmethod
    def of(cls, url: str) -> Origin:
        parts = urlsplit(url)
        return cls(parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme], parts.scheme == "https")


class Pool:
    """Connections with the same TLS context and limits.

    Use a pool in one event loop only, and call `aclose` at its end.
    """

    def __init__(self, tls: ssl.SSLContext, limits: Limits) -> None:
        self._tls = tls
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._resting: defaultdict[Origin, list[Connection]] = defaultdict(list)
        self._connections: set[Connection] = set()

    def __len__(self) -> int:
        """Return how many connections are open, in use or resting."""
        return len(self._connections)

    async def send(
        self, origin: Origin, request: bytes, *, timeout_in_seconds: float, is_repeatable: bool = False
    ) -> Received:
        """Send a request and return its answer. Raises Unreachable if no usable answer comes.

        The timeout covers the whole call. A repeatable request may reach the service twice.
        """
        deadline = self._loop.time() + timeout_in_seconds
        resting = self._resting[origin]
        while resting:
            connection = resting.pop()
            if connection.is_open:
                try:
                    return await self._ask(connection, resting, request, deadline)
                except HungUp:
                    if not is_repeatable:
                        raise
                    return await self._repeat(origin, request, deadline)
        return await self._ask(await self._connected(origin, deadline), resting, request, deadline)

    async def connect(self, origin: Origin) -> None:
        """Open a connection, and close it without a request. Raises Unreachable."""
        (await self._connected(origin, math.inf)).close()

    async def aclose(self) -> None:
        """Close all connections, and wait until they have ended."""
        for connection in list(self._connections):
            connection.close()
        await self._all_lost()
        for connection in list(self._connections):
            connection.abort()
        await self._all_lost()

    async def _ask(
        self, connection: Connection, resting: list[Connection], request: bytes, deadline: float
    ) -> Received:
        waiter = connection.ask(request, deadline=deadline)
        try:
            result = await waiter
        except asyncio.CancelledError:
            connection.abort()
            raise
        if connection.is_open:
            connection.rest(deadline=self._loop.time() + self._limits.keep_alive_in_seconds)
            resting.append(connection)
        if isinstance(result, Unreachable):
            raise result
        return result

    async def _repeat(self, origin: Origin, request: bytes, deadline: float) -> Received:
        try:
            connection = await self._connected(origin, deadline)
        except Unreachable as error:  # the first request may have arrived
            raise Unreachable(str(error), code=error.code, was_sent=True) from error
        return await self._ask(connection, self._resting[origin], request, deadline)

    async def _connected(self, origin: Origin, deadline: float) -> Connection:
        try:
            async with asyncio.timeout_at(min(deadline, self._loop.time() + self._limits.connect_timeout_in_seconds)):
                return await self._connect(origin)
        except (OSError, UnicodeError) as error:
            code = next(code for kind, code in NOT_CONNECTED_CODES if isinstance(error, kind))
            reason = "no connection in time" if isinstance(error, TimeoutError) else safe_text(error)
            text = f"cannot connect to {origin.host}:{origin.port}: {reason}"
            raise Unreachable(text, code=code, was_sent=False) from error

    async def _connect(self, origin: Origin) -> Connection:
        infos = await self._loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        sock = await start_connection(infos, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY_IN_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        probe_when_silent(sock)
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._lost, largest_answer_in_bytes=self._limits.largest_answer_in_bytes),
            sock=sock,
            ssl=self._tls if origin.is_tls else None,
            server_hostname=origin.host.rstrip(".") if origin.is_tls else None,
        )
        if not connection.lost.done():
            self._connections.add(connection)
        if not connection.is_open:
            raise ConnectionResetError("the server closed it at once")
        return connection

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        for resting in self._resting.values():
            if connection in resting:
                resting.remove(connection)

    async def _all_lost(self) -> None:
        if self._connections:
            await asyncio.wait([each.lost for each in self._connections], timeout=CLOSE_TIMEOUT_IN_SECONDS)


NOT_CONNECTED_CODES: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "ConnectionTimeoutError"),
    (socket.gaierror, "ClientConnectorDNSError"),
    (UnicodeError, "ClientConnectorDNSError"),
    (ssl.CertificateError, "ClientConnectorCertificateError"),
    (ssl.SSLError, "ClientConnectorSSLError"),
    (OSError, "ClientConnectorError"),
)
"""The codes of errors that prevent a connection; the first class that fits decides. The codes are aiohttp's names."""
