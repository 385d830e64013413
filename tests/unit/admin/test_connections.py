"""Which connections does a server accept while some of them work?"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest
from aiohttp import web
from anyio.abc import SocketStream

from poller.admin.connections import MAXIMUM_CONNECTIONS, Connections
from poller.admin.listening import bound

pytestmark = pytest.mark.anyio

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Workshop:
    """A server whose requests work until `let_go` is set."""

    def __init__(self, maximum: int = MAXIMUM_CONNECTIONS) -> None:
        self.let_go = anyio.Event()
        self.working = 0
        self.began = anyio.Event()
        self._connections = Connections(maximum)

    @asynccontextmanager
    async def open(self, shared: socket.socket | None = None) -> AsyncIterator[tuple[str, int]]:
        (self.listener,) = [shared.dup()] if shared else await bound(("127.0.0.1", 0), option="test")
        with self.listener as listener:
            server = web.Server(self._work, access_log=None)
            with self._connections.keeping_descriptors():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._connections.take, listener, server)
                    yield listener.getsockname()
                    tasks.cancel_scope.cancel()
            await server.shutdown(1.0)

    async def _work(self, request: web.BaseRequest) -> web.Response:
        with self._connections.working(request.transport, 60.0):
            self.working += 1
            self.began.set()
            self.began = anyio.Event()
            await self.let_go.wait()
        return web.Response(text="done")

    async def until_working(self, count: int) -> None:
        with anyio.fail_after(60):
            while self.working < count:
                await self.began.wait()


async def answer(connection: SocketStream) -> bytes:
    with anyio.fail_after(60):
        return await connection.receive()


async def test_a_resting_connection_makes_room_and_a_working_one_does_not() -> None:
    workshop = Workshop(2)
    async with workshop.open() as address, AsyncExitStack() as stack:
        working = await stack.enter_async_context(await anyio.connect_tcp(*address))
        await working.send(REQUEST)
        await workshop.until_working(1)
        resting = await stack.enter_async_context(await anyio.connect_tcp(*address))
        third = await stack.enter_async_context(await anyio.connect_tcp(*address))
        await third.send(REQUEST)
        await workshop.until_working(2)
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await answer(resting)
        workshop.let_go.set()
        for connection in (working, third):
            assert (await answer(connection)).startswith(b"HTTP/1.1 200")


@pytest.mark.slow
async def test_a_client_waits_while_all_connections_work() -> None:
    workshop = Workshop(2)
    async with workshop.open() as address, AsyncExitStack() as stack:
        clients = []
        for number in (1, 2, 2):
            clients.append(await stack.enter_async_context(await anyio.connect_tcp(*address)))
            await clients[-1].send(REQUEST)
            await workshop.until_working(number)
        with anyio.move_on_after(0.3) as waiting:
            await workshop.until_working(3)
        assert waiting.cancelled_caught
        workshop.let_go.set()
        for client in clients:
            assert (await answer(client)).startswith(b"HTTP/1.1 200")


async def test_a_server_that_shares_its_listener_takes_a_client_whom_another_server_cannot_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both servers wake up for the first client, and one of them is too late. It must not pause then."""
    monkeypatch.setattr("poller.admin.connections.PAUSE_SECONDS", 3600.0)
    one, other = Workshop(1), Workshop(1)
    async with one.open() as address, other.open(one.listener), AsyncExitStack() as stack:
        for number in (1, 2):
            client = await stack.enter_async_context(await anyio.connect_tcp(*address))
            await client.send(REQUEST)
            with anyio.fail_after(10):
                while one.working + other.working < number:
                    await anyio.wait_all_tasks_blocked()
        assert (one.working, other.working) == (1, 1)
        one.let_go.set()
        other.let_go.set()


@pytest.mark.slow
async def test_a_connection_rests_again_after_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.admin.connections.LONGEST_SECONDS", 0.3)
    workshop = Workshop()
    async with workshop.open() as address, await anyio.connect_tcp(*address) as client:
        await client.send(REQUEST)
        await workshop.until_working(1)
        with anyio.move_on_after(0.7) as waiting:
            await client.receive()
        assert waiting.cancelled_caught, "a working connection lasts longer than a resting one"
        workshop.let_go.set()
        assert (await answer(client)).startswith(b"HTTP/1.1 200")
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await answer(client)
