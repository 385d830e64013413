"""Does the system probe every connection on which a call may wait for hours?"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from yarl import URL

from poller.http.http1 import request
from poller.http.keep_alive import PROBE_AFTER_IN_SECONDS
from poller.http.pool import Limits, Origin, Pool
from poller.http.proxied import Proxied
from poller.targets.http import HttpTarget
from tests.fakes.functions import function, http_kind, invocation
from tests.fakes.http_server import Reply, Request, http_server
from tests.fakes.recorded import Recorded

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux shows a process its own sockets"),
]

CLIENT = ssl.create_default_context()


async def call_aws(url: str) -> None:
    async with aclosing(Pool(CLIENT, Limits())) as pool:
        await pool.send(Origin.of(url), request("POST / HTTP/1.1\r\n", {"host": "x"}, b""), timeout_in_seconds=60)


async def call_aws_through_a_proxy(url: str) -> None:
    async with aclosing(Proxied(CLIENT, Limits())) as proxied:
        await proxied.send("http://sqs.invalid/", url, {}, b"", timeout_in_seconds=60)


async def call_a_service(url: str) -> None:
    async with HttpTarget(function(http_kind(url)), emit=Recorded()) as target:
        await target.invoke(invocation())


@pytest.mark.parametrize("call", [call_aws, call_aws_through_a_proxy, call_a_service])
async def test_a_silent_connection_is_probed(call: Callable[[str], Awaitable[None]]) -> None:
    probed_after: list[int] = []

    async def look_at_the_client(_: Request) -> Reply:
        probed_after.append(probe_of_the_client(URL(server.url).port or 0))
        return Reply()

    async with http_server(look_at_the_client) as server:
        await call(server.url)
    assert probed_after == [PROBE_AFTER_IN_SECONDS]


def probe_of_the_client(port: int) -> int:
    """Return when this process's connection to its own port is probed next, in seconds; 0 means never."""
    for descriptor in filter(Path.is_socket, Path("/proc/self/fd").iterdir()):
        with socket.socket(fileno=os.dup(int(descriptor.name))) as sock:
            if sock.family in (socket.AF_INET, socket.AF_INET6) and peer_port(sock) == port:
                is_probed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) if is_probed else 0
    raise AssertionError(f"no connection to port {port}")


def peer_port(sock: socket.socket) -> int | None:
    try:
        return int(sock.getpeername()[1])
    except OSError:  # it listens
        return None
