"""How do a parent and its worker send messages to each other? Through a pair of connected sockets, one for each side.

    message = 4 bytes with the length, then the bytes

When a process ends in any way, the system closes its side. Then `receive` raises EndOfChannel on the other side, after
the last whole message.
"""

from __future__ import annotations

import socket
import struct

import anyio

LENGTH = struct.Struct(">I")

MAXIMUM_BYTES = 256 * 1024 * 1024
"""The largest message. The report of a worker with a thousand mappings has about a megabyte."""

_READ_AT_ONCE = 1024 * 1024


class EndOfChannel(Exception):
    """The other side has closed the channel or has ended."""


class Channel:
    """One side. One task may send while another one receives."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._received = bytearray()

    def close(self) -> None:
        self._connection.close()

    async def send(self, message: bytes) -> None:
        """Send a whole message. Raises EndOfChannel.

        After a cancelled `send`, send nothing more: a part of the message may be sent.
        """
        assert len(message) <= MAXIMUM_BYTES, "larger than any message"
        rest = memoryview(LENGTH.pack(len(message)) + message)
        while rest:
            try:
                rest = rest[self._connection.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._connection)
            except OSError:
                raise EndOfChannel from None

    def send_nowait(self, message: bytes) -> None:
        """Send a short message. If the other side does not read, the message is lost. Raises EndOfChannel."""
        try:
            self._connection.send(LENGTH.pack(len(message)) + message)
        except BlockingIOError:
            pass
        except OSError:
            raise EndOfChannel from None

    async def receive(self) -> bytes:
        """Return the next message. Raises EndOfChannel. A cancelled `receive` loses no message."""
        while (message := self._next()) is None:
            try:
                found = self._connection.recv(_READ_AT_ONCE)
            except BlockingIOError:
                await anyio.wait_readable(self._connection)
                continue
            except OSError:
                raise EndOfChannel from None
            if not found:
                raise EndOfChannel
            self._received += found
        return message

    def _next(self) -> bytes | None:
        """Take the next message out of the bytes that were received; None if it is not complete."""
        if len(self._received) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._received)
        assert length <= MAXIMUM_BYTES, "no side sends such a message"
        end = LENGTH.size + length
        if len(self._received) < end:
            return None
        message = bytes(self._received[LENGTH.size : end])
        del self._received[:end]
        return message
