"""At which addresses does a server listen? At each address of its host."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

import anyio
from anyio.abc import SocketAttribute

from poller.errors import CannotListen

Address = tuple[str, int]


async def bound(listen: Address, *, option: str) -> list[socket.socket]:
    """Return one listening socket for each address of the host. Raises CannotListen, which names the option."""
    host, port = listen
    try:
        multi = await anyio.create_tcp_listener(local_host=host, local_port=port)
    except (OSError, OverflowError) as error:
        raise CannotListen(f"{option}: {host}:{port}: cannot listen there: {_reason(error)}") from error
    return [listener.extra(SocketAttribute.raw_socket) for listener in multi.listeners]  # noqa: S610  # not Django's


def written(address: Sequence[Any]) -> str:
    """Return the host and the port of a socket's address as text: `127.0.0.1:9464`, `[::1]:9464`."""
    host, port, *_ = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: Exception) -> str:
    """Return the operating system's text alone, because asyncio's text repeats the address."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number is not None and number > 0 else str(error)
