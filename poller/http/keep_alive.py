"""How does a connection stay open while its answer takes hours? By TCP keep-alive: the system probes a silent peer.

A NAT gateway or a load balancer forgets a connection that is silent for some minutes, and without probes a call to a
peer that is gone would wait for its whole timeout.
"""

from __future__ import annotations

import socket
from typing import Any

PROBE_AFTER_IN_SECONDS = 60
"""AWS's NAT gateway forgets a silent connection after 350 seconds."""


def probe_when_silent(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER_IN_SECONDS)


def probed_socket(address: tuple[Any, ...]) -> socket.socket:
    """For aiohttp's `socket_factory`; `address` is one of getaddrinfo's answers."""
    family, kind, protocol, *_ = address
    sock = socket.socket(family, kind, protocol)
    probe_when_silent(sock)
    return sock
