"""Which connections does the admin server accept? At most 64 at once, each for one request and for a short time.

    listener ── accept ──> a connection ── one request, one answer ──> closed
                                └── it lasts too long, or too many others come ──> aborted

So a client that neither sends nor reads soon loses its connection.  If too many come, the connection with the least
time left is aborted, so a change that takes long keeps its connection.
A few file descriptors are reserved. If the process has no other descriptor left, a connection gets a reserved one:
a liveness probe that is not answered would kill the daemon when it is busiest. The reserve is filled up again as soon
as descriptors are free.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from operator import itemgetter

import anyio
from aiohttp import web

MAXIMUM_CONNECTIONS = 64

LONGEST_SECONDS = 30.0
"""The longest time from the accept of a connection to the end of its answer."""

DESCRIPTORS_KEPT = 8

PAUSE_SECONDS = 0.1
"""The pause before the next accept while no descriptor is left."""

NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


class Connections:
    """The connections of one server."""

    def __init__(self) -> None:
        self._ends_at: dict[asyncio.Transport, float] = {}
        self._kept: list[int] = []

    @contextmanager
    def keeping_descriptors(self) -> Iterator[None]:
        """Reserve descriptors until the block is left. `take` must run within the block."""
        self._keep()
        try:
            yield
        finally:
            while self._kept:
                os.close(self._kept.pop())

    def allow(self, transport: asyncio.BaseTransport | None, seconds: float) -> None:
        """Let this connection last `seconds` from now on, because its request takes longer than others."""
        for known in self._ends_at:
            if known is transport:
                self._ends_at[known] = anyio.current_time() + seconds

    async def take(self, listener: socket.socket, server: web.Server) -> None:
        """Accept every connection to this listener, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            with anyio.move_on_after(self._seconds_to_rest()) as waiting:
                await anyio.wait_readable(listener)
            self._abort_late()
            self._keep()
            if waiting.cancelled_caught:  # no client waits, and accept would only use up a reserved descriptor
                continue
            connection = self._accepted(listener)
            if connection is None:
                await anyio.sleep(PAUSE_SECONDS)
                continue
            try:
                transport, _ = await loop.connect_accepted_socket(server, connection)
            except OSError:  # it was reset meanwhile
                connection.close()
            else:
                self._ends_at[transport] = anyio.current_time() + LONGEST_SECONDS

    def _seconds_to_rest(self) -> float:
        if len(self._kept) < DESCRIPTORS_KEPT:
            return PAUSE_SECONDS
        return max(PAUSE_SECONDS, min(self._ends_at.values(), default=inf) - anyio.current_time())

    def _abort_late(self) -> None:
        """Abort connections that last too long, and the one with the least time left if no other fits."""
        now = anyio.current_time()
        self._ends_at = {transport: at for transport, at in self._ends_at.items() if not transport.is_closing()}
        places = MAXIMUM_CONNECTIONS - 1
        for transport, at in sorted(self._ends_at.items(), key=itemgetter(1)):
            if at <= now or len(self._ends_at) > places:
                transport.abort()
                del self._ends_at[transport]

    def _accepted(self, listener: socket.socket) -> socket.socket | None:
        """Accept a connection; None if no client waits any more, or no descriptor is left."""
        for _ in range(2):
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if error.errno not in NO_DESCRIPTOR or not self._kept:
                    return None
                os.close(self._kept.pop())
            else:
                connection.setblocking(False)
                return connection
        return None

    def _keep(self) -> None:
        with suppress(OSError):
            while len(self._kept) < DESCRIPTORS_KEPT:
                self._kept.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
