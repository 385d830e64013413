"""Who asks for a change? The log of each change says it, in the words of this module.

    the control socket            uid 1000, pid 4242
    a command without a daemon    uid 1000, pid 4242
    HTTP, with the admin token    token, from 10.0.0.7
    HTTP at a loopback address    loopback, from 127.0.0.1

The address is that of the connection. If a proxy stands between, it is the address of the proxy.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio  # a command that only names itself does not load it

_CREDENTIALS = struct.Struct("3i")
"""`struct ucred` of Linux: the pid, the uid and the gid (unix(7), SO_PEERCRED)."""


def requester(transport: asyncio.BaseTransport | None, *, needs_token: bool) -> str:
    """Return who has sent a request that the guard has accepted. `needs_token` is true if it needed the admin token."""
    connection = None if transport is None else transport.get_extra_info("socket")
    if connection is not None and connection.family == socket.AF_UNIX:
        return _peer_of(connection)
    peer = None if transport is None else transport.get_extra_info("peername")
    return f"{'token' if needs_token else 'loopback'}, from {peer[0] if peer else 'a closed connection'}"


def this_process() -> str:
    """Return how a command names itself if it makes a change without a daemon."""
    return f"uid {os.getuid()}, pid {os.getpid()}"


def _peer_of(connection: socket.socket) -> str:
    """Return, in words for the log, which process is at the other end of the control socket. Only Linux tells this."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return "the control socket"
    pid, uid, _gid = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return f"uid {uid}, pid {pid}"
