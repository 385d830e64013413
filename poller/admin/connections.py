"""Which connections does an HTTP server accept? A limited number at once, and each one may rest only for a short time.

    listener ── accept ──> resting ── a request has come ──> working ── its answer ──> resting, or closed
                              └── it rests too long, or too many others come ──> aborted

So a client that neither sends nor reads soon loses its connection.
If all connections are working, further clients wait until one of them ends its work.
A few file descriptors are reserved. If the process has no other descriptor left, a connection gets a reserved one.
Otherwise a liveness probe would get no answer, and the daemon would be killed when it is busiest. The reserve is filled
up again as soon as descriptors are free.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from operator import itemgetter

import anyio

MAXIMUM_CONNECTIONS = 64
"""How many connections a server accepts at once, unless it says another number."""

LONGEST_SECONDS = 30.0
"""How long a connection may rest: wait for a request, receive it, and send its answer."""

DESCRIPTORS_KEPT = 8

PAUSE_SECONDS = 0.1
"""The pause before the next accept while no descriptor is left."""

NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


class Connections:
    """The connections of one server, at most `maximum` at once."""

    def __init__(self, maximum: int = MAXIMUM_CONNECTIONS) -> None:
        self._maximum = maximum
        self._ends_at: dict[asyncio.Transport, float] = {}
        self._working: set[asyncio.Transport] = set()
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

    @contextmanager
    def working(self, transport: asyncio.Transport | None, seconds: float) -> Iterator[None]:
        """Allow this connection to last `seconds` during the block, because its request may take longer than others.

        After the block, the connection rests again.
        """
        if transport not in self._ends_at:  # it was closed during the block
            yield
            return
        self._ends_at[transport] = anyio.current_time() + seconds
        self._working.add(transport)
        try:
            yield
        finally:
            self._working.discard(transport)
            if transport in self._ends_at:
                self._ends_at[transport] = anyio.current_time() + LONGEST_SECONDS

    async def take(self, listener: socket.socket, server: Callable[[], asyncio.Protocol]) -> None:
        """Accept every connection to this listener, until cancelled. `server` makes the protocol of a connection."""
        loop = asyncio.get_running_loop()
        while True:
            with anyio.move_on_after(self._seconds_to_rest()) as waiting:
                await anyio.wait_readable(listener)
            self._abort_late(is_awaited=not waiting.cancelled_caught)
            self._keep()
            if waiting.cancelled_caught:  # no client waits, and accept would only use up a reserved descriptor
                continue
            if len(self._ends_at) >= self._maximum:
                await anyio.sleep(PAUSE_SECONDS)
                continue
            try:
                connection = self._accepted(listener)
            except OSError:  # no descriptor is left
                await anyio.sleep(PAUSE_SECONDS)
                continue
            if connection is None:
                continue
            try:
                transport, _ = await loop.connect_accepted_socket(server, connection)
            except OSError:  # it was reset
                connection.close()
            else:
                self._ends_at[transport] = anyio.current_time() + LONGEST_SECONDS

    def _seconds_to_rest(self) -> float:
        if len(self._kept) < DESCRIPTORS_KEPT:
            return PAUSE_SECONDS
        first_end = min(self._ends_at.values(), default=inf) - anyio.current_time()
        return min(max(PAUSE_SECONDS, first_end), LONGEST_SECONDS)  # a connection that works now may rest soon

    def _abort_late(self, *, is_awaited: bool) -> None:
        """Abort the connections whose time is over.

        If a client waits, also abort the resting one with the least time left.
        """
        now = anyio.current_time()
        self._ends_at = {transport: at for transport, at in self._ends_at.items() if not transport.is_closing()}
        places = self._maximum - is_awaited
        for transport, at in sorted(self._ends_at.items(), key=itemgetter(1)):
            if at <= now or (len(self._ends_at) > places and transport not in self._working):
                transport.abort()
                del self._ends_at[transport]

    def _accepted(self, listener: socket.socket) -> socket.socket | None:
        """Accept a connection. Return None if no client waits any more. Raises OSError if no descriptor is left.

        Several processes may share a listener: then another one may have accepted the client first.
        """
        while True:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno not in NO_DESCRIPTOR or not self._kept:
                    raise
                os.close(self._kept.pop())
            else:
                connection.setblocking(False)
                return connection

    def _keep(self) -> None:
        with suppress(OSError):
            while len(self._kept) < DESCRIPTORS_KEPT:
                self._kept.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
