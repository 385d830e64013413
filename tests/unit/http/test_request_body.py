"""How does a server of ours read the body of a request?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from aiohttp import web
from anyio.abc import SocketStream

from poller.http.request_body import Body, read_body

pytestmark = pytest.mark.anyio

LIMIT = 100_000


@asynccontextmanager
async def client_of(bodies: list[Body]) -> AsyncIterator[SocketStream]:
    """A client of a server that keeps the bodies of its requests in this list."""

    async def answer(request: web.BaseRequest) -> web.Response:
        bodies.append(await read_body(request, maximum_bytes=LIMIT))
        return web.Response(text="done")

    served = web.Server(answer, access_log=None)
    listening = await asyncio.get_running_loop().create_server(served, "127.0.0.1", 0)
    try:
        with anyio.fail_after(60):
            async with await anyio.connect_tcp(*listening.sockets[0].getsockname()) as client:
                yield client
    finally:
        listening.close()
        await served.shutdown(1.0)


@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
async def test_a_body_up_to_the_limit_is_kept(size: int) -> None:
    bodies: list[Body] = []
    async with client_of(bodies) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        assert b" 200 OK" in await client.receive()
    assert bodies == [Body(size, b"x" * size)]


async def test_a_larger_body_is_read_to_its_end_and_not_kept() -> None:
    """A client that sends all before it reads would else get a closed connection instead of the answer."""
    bodies: list[Body] = []
    async with client_of(bodies) as client:
        for _ in range(2):
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (20 * LIMIT))
            await client.send(b"x" * 20 * LIMIT)
            assert b" 200 OK" in await client.receive()
    assert bodies == [Body(20 * LIMIT, None)] * 2


async def test_a_client_that_waits_for_a_first_answer_gets_it_before_it_sends_the_body() -> None:
    bodies: list[Body] = []
    async with client_of(bodies) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n")
        assert await client.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert (await client.receive()).startswith(b"HTTP/1.1 200 OK\r\n")
    assert bodies == [Body(3, b"abc")]
