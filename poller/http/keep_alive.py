"""How does a connection stay open while its answer takes hours? By TCP keep-alive: the system sends probes to the peer.

Without probes, a NAT gateway or a load balancer forgets a connection that carries no data for some minutes, and a call
to a crashed peer waits for its whole timeout.
"""

from __future__ import annotations

import socket
from typing import Any

PROBE_AFTER_IN_SECONDS = 60
"""The first probe goes out after this time without data. AWS's NAT gateway forgets a connection after 350 seconds."""


def probe_when_silent(sock: socket.socket) -> None:
    """Turn on TCP keep-alive for the socket."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER_IN_SECONDS)


def probed_socket(address: tuple[Any, ...]) -> socket.socket:
    """Return a socket with TCP keep-alive, for aiohttp's `socket_factory`. `address` is a result of getaddrinfo."""
    family, kind, protocol, *_ = address
    sock = socket.socket(family, kind, protocol)
    probe_when_silent(sock)
    return sock
