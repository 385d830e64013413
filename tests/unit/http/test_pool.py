"""Does the pool send a request over any connection that it has, and report truly what happened to it?"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from poller.errors import Unreachable
from poller.http import pool
from poller.http.http1 import Received, request
from poller.http.pool import Limits, Origin, Pool
from tests.fakes.certificates import self_signed
from tests.fakes.http_server import Request, close, read_request

DEFAULT_LIMITS = Limits()

pytestmark = pytest.mark.anyio

REQUEST = request("POST / HTTP/1.1\r\n", {"host": "x"}, b"{}")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Run on both event loops of the daemon, because they report lost connections differently."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request: pytest.FixtureRequest, tmp_path: Path) -> ssl.SSLContext | None:
    return self_signed(tmp_path) if request.param else None


class Peer:
    """The server's end of one connection; `number` counts them from 1."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def asked(self) -> Request | None:
        return await read_request(self.reader)

    async def says(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def is_left(self) -> None:
        """Wait until the client has closed or aborted the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Script = Callable[[Peer], Awaitable[None]]


class Scripted:
    """A server that runs the script on each connection, and closes the connection at its end."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.left = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._script(Peer(self.connections, reader, writer))
            self.left += 1
        except (ConnectionError, RuntimeError):  # the latter is uvloop's word to who writes too late
            self.left += 1
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Client:
    """The pool under test, and the server of its requests."""

    def __init__(self, pool: Pool, origin: Origin, server: Scripted, listening: asyncio.Server) -> None:
        self.pool = pool
        self.origin = origin
        self.server = server
        self.listening = listening

    async def send(
        self, message: bytes = REQUEST, *, timeout_in_seconds: float = 60, is_repeatable: bool = False
    ) -> Received:
        return await self.pool.send(
            self.origin, message, timeout_in_seconds=timeout_in_seconds, is_repeatable=is_repeatable
        )

    async def fails(self, *, timeout_in_seconds: float = 60, is_repeatable: bool = False) -> tuple[str, bool]:
        with pytest.raises(Unreachable) as caught:
            await self.send(timeout_in_seconds=timeout_in_seconds, is_repeatable=is_repeatable)
        return caught.value.code, caught.value.was_sent

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(60):
            while not condition():  # noqa: ASYNC110  # of what happens to sockets there is no event
                await asyncio.sleep(0)


@asynccontextmanager
async def asking(
    script: Script,
    tls: ssl.SSLContext | None = None,
    *,
    folder: Path | None = None,
    host: str = "127.0.0.1",
    limits: Limits = DEFAULT_LIMITS,
) -> AsyncIterator[Client]:
    """Yield a client of a server that follows the script."""
    server = Scripted(script)
    listening = await asyncio.start_server(server.serve, host, 0, ssl=tls)
    own = ssl.create_default_context(cafile=folder / "certificate.pem") if tls and folder else None
    trusted = own or pool.trusting_the_system()
    origin = Origin(host, listening.sockets[0].getsockname()[1], tls is not None)
    try:
        async with aclosing(Pool(trusted, limits)) as opened:
            yield Client(opened, origin, server, listening)
    finally:
        await close(listening)
        await server.close()


def answering(*raw: bytes) -> Script:
    """Return a script that answers each request with the next of these, and later ones with the last."""

    async def script(peer: Peer) -> None:
        for each in itertools.chain(raw, itertools.repeat(raw[-1])):
            if await peer.asked() is None:
                return
            await peer.says(each)

    return script


async def silent(peer: Peer) -> None:
    await peer.asked()
    await peer.is_left()


# Reuse


async def test_an_idle_connection_is_used_again(tls: ssl.SSLContext | None, tmp_path: Path) -> None:
    async with asking(answering(OK), tls, folder=tmp_path) as client:
        for _number in range(3):
            assert await client.send() == Received(200, {"content-length": "2"}, b"ok")
        assert client.server.connections == len(client.pool) == 1


async def test_the_idle_connection_that_was_used_last_is_used_first() -> None:
    both = asyncio.Event()
    used: list[int] = []

    async def script(peer: Peer) -> None:
        while await peer.asked() is not None:
            used.append(peer.number)
            if len(used) == 2:
                both.set()
            await both.wait()
            if len(used) == 2 and peer.number == 1:
                await client.until(lambda: first_is_at_rest.is_set())
            await peer.says(OK)

    first_is_at_rest = asyncio.Event()
    async with asking(script) as client:
        calls = [asyncio.create_task(client.send()) for _ in range(2)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        first_is_at_rest.set()
        await asyncio.gather(*calls)
        for _number in range(3):
            await client.send()
    assert used[2:] == [1, 1, 1]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"surplus",
        OK + OK,
        OK + b"H",
    ],
)
async def test_a_connection_is_not_used_again_after_an_answer_that_leaves_it_unusable(answer: bytes) -> None:
    async with asking(answering(answer)) as client:
        for number in (1, 2):
            received = await client.send()
            assert (received.status, received.body) == (200, b"ok")
            assert client.server.connections == number


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
async def test_an_idle_connection_on_which_the_server_closes_or_sends_is_not_used_again(
    raw: bytes, tls: ssl.SSLContext | None, tmp_path: Path
) -> None:
    at_rest = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.asked()
        await peer.says(OK)
        await at_rest.wait()
        await peer.says(raw)

    async with asking(script, tls, folder=tmp_path) as client:
        assert (await client.send()).body == b"ok"
        at_rest.set()
        await client.until(lambda: len(client.pool) == 0)
        assert (await client.send()).body == b"ok"
        assert client.server.connections == 2


async def test_a_connection_is_not_idle_for_longer_than_its_limit(tls: ssl.SSLContext | None, tmp_path: Path) -> None:
    async with asking(answering(OK), tls, folder=tmp_path, limits=Limits(keep_alive_in_seconds=0.02)) as client:
        await client.send(timeout_in_seconds=3_600)
        await client.until(lambda: len(client.pool) == 0 and client.server.left == 1)


async def test_connections_of_different_origins_are_kept_apart() -> None:
    async with asking(answering(OK)) as one, asking(answering(OK.replace(b"ok", b"no"))) as other:
        assert (await one.send()).body == b"ok"
        assert (await one.pool.send(other.origin, REQUEST, timeout_in_seconds=60)).body == b"no"
        assert (await one.send()).body == b"ok"
        assert len(one.pool) == 2


# Hang-ups


def hanging_up(*after: bytes | None) -> Script:
    """Return a script: connection n answers once, then sends the n-th of these bytes and closes.

    None answers without end.
    """

    async def script(peer: Peer) -> None:
        await peer.asked()
        last = after[min(peer.number, len(after)) - 1]
        if last is None:
            await peer.says(OK)
            await peer.is_left()
        elif peer.number == 1:
            await peer.says(OK)
            await peer.asked()
            await peer.says(last)

    return script


async def test_a_repeatable_request_on_a_closed_connection_is_sent_on_a_new_one(
    tls: ssl.SSLContext | None, tmp_path: Path
) -> None:
    async with asking(hanging_up(b"", None), tls, folder=tmp_path) as client:
        await client.send()
        assert (await client.send(is_repeatable=True)).body == b"ok"
        assert client.server.connections == 2


async def test_any_other_request_on_a_closed_connection_is_not_sent_again() -> None:
    async with asking(hanging_up(b"", None)) as client:
        await client.send()
        assert await client.fails() == ("ServerDisconnectedError", True)
        assert client.server.connections == 1


async def test_a_request_is_not_repeated_after_a_byte_of_its_answer_has_arrived() -> None:
    async with asking(hanging_up(b"H", None)) as client:
        await client.send()
        assert await client.fails(is_repeatable=True) == ("ClientPayloadError", True)
        assert client.server.connections == 1


async def test_a_request_is_repeated_once_at_most() -> None:
    async with asking(hanging_up(b"", b"")) as client:
        await client.send()
        assert await client.fails(is_repeatable=True) == ("ServerDisconnectedError", True)
        assert client.server.connections == 2


async def test_a_request_on_a_new_connection_that_the_server_closes_is_not_repeated() -> None:
    async def script(peer: Peer) -> None:
        await peer.asked()

    async with asking(script) as client:
        assert await client.fails(is_repeatable=True) == ("ServerDisconnectedError", True)
        assert client.server.connections == 1


async def test_a_request_that_cannot_be_repeated_without_a_new_connection_may_have_arrived() -> None:
    async def script(peer: Peer) -> None:
        await peer.asked()
        await peer.says(OK)
        await peer.asked()
        client.listening.close()

    async with asking(script) as client:
        await client.send()
        assert await client.fails(is_repeatable=True) == ("ClientConnectorError", True)


async def test_a_server_that_closes_the_connection_at_once_is_unreachable(
    tls: ssl.SSLContext | None, tmp_path: Path
) -> None:
    async def script(peer: Peer) -> None:
        peer.writer.transport.abort()

    async with asking(script, tls, folder=tmp_path) as client:
        for _number in range(20):
            await client.fails(is_repeatable=True)
        await client.until(lambda: len(client.pool) == 0)


# Answers


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" * 3,
        b"HTTP/1.1 103 Early Hints\r\nLink: y\r\n\r\n",
    ],
)
async def test_interim_answers_are_skipped(interim: bytes) -> None:
    async with asking(answering(interim + OK)) as client:
        for _number in range(2):
            assert await client.send() == Received(200, {"content-length": "2"}, b"ok")
        assert client.server.connections == 1


async def test_an_answer_may_last_until_the_connection_ends(tls: ssl.SSLContext | None, tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.asked()
        await peer.says(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n")
        await peer.says(b"o")
        await peer.says(b"k")

    async with asking(script, tls, folder=tmp_path) as client:
        for _number in range(2):
            assert await client.send() == Received(200, {"x": "y"}, b"ok")


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_an_answer_that_is_not_http_is_unusable(raw: bytes) -> None:
    async with asking(answering(raw)) as client:
        assert await client.fails() == ("UnusableAnswer", True)
        await client.until(lambda: len(client.pool) == 0)


@pytest.mark.parametrize("head", [b"Content-Length: 5000\r\n\r\n", b"\r\n", b"X: "])
async def test_an_answer_without_end_is_cut_off(head: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.asked()
        await peer.says(b"HTTP/1.1 200 OK\r\n" + head + b"x" * 1001)
        await peer.is_left()

    async with asking(script, limits=Limits(largest_answer_in_bytes=1000)) as client:
        assert await client.fails() == ("UnusableAnswer", True)
        await client.until(lambda: client.server.left == 1)


async def test_an_answer_before_the_end_of_the_request_counts_and_the_connection_is_closed() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.says(OK.replace(b"200", b"413"))
        await done.wait()

    done = asyncio.Event()
    async with asking(script) as client:
        large = request("POST / HTTP/1.1\r\n", {}, b"x" * (20 << 20))
        assert (await client.send(large)).status == 413
        await client.until(lambda: len(client.pool) == 0)
        done.set()


# Time


async def test_a_call_ends_at_its_timeout_and_its_connection_is_closed(
    tls: ssl.SSLContext | None, tmp_path: Path
) -> None:
    async def silent_at_the_second(peer: Peer) -> None:
        await peer.asked()
        await peer.says(OK)
        await peer.is_left()

    async with asking(silent_at_the_second, tls, folder=tmp_path) as client:
        await client.send()  # so that the short timeout is not used up by the handshake
        assert await client.fails(timeout_in_seconds=0.05, is_repeatable=True) == ("TimeoutError", True)
        await client.until(lambda: client.server.left == 1 and len(client.pool) == 0)
        assert client.server.connections == 1


async def test_a_slowly_arriving_body_does_not_extend_the_timeout() -> None:
    async def script(peer: Peer) -> None:
        await peer.asked()
        await peer.says(OK)
        await peer.asked()
        await peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while not peer.reader.at_eof():
            await peer.says(b"x")
            await asyncio.sleep(0.001)

    async with asking(script) as client:
        await client.send()  # so that the short timeout is not used up by the connection
        assert await client.fails(timeout_in_seconds=0.05) == ("TimeoutError", True)
        await client.until(lambda: client.server.left == 1)


@pytest.mark.slow
async def test_each_call_on_a_connection_has_its_own_timeout() -> None:
    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.asked()
            await peer.says(OK)
        await peer.asked()
        await asyncio.sleep(0.6)  # beyond the timeout of the call before
        await peer.says(OK)
        await peer.asked()
        await peer.is_left()

    async with asking(script) as client:
        await client.send()  # so that the short timeouts are not used up by the connection
        await client.send(timeout_in_seconds=0.5)
        assert (await client.send()).body == b"ok"
        with anyio.fail_after(60):
            assert await client.fails(timeout_in_seconds=0.05) == ("TimeoutError", True)
        assert client.server.connections == 1


@pytest.mark.parametrize(("connect_timeout", "timeout"), [(0.2, 60), (60, 0.2)])
@pytest.mark.slow
async def test_nothing_is_sent_to_a_server_that_does_not_finish_the_tls_handshake(
    connect_timeout: float, timeout: float
) -> None:
    async with asking(Peer.is_left, limits=Limits(connect_timeout_in_seconds=connect_timeout)) as client:
        client.origin = client.origin._replace(is_tls=True)
        with anyio.fail_after(60):
            assert await client.fails(timeout_in_seconds=timeout) == ("ConnectionTimeoutError", False)
        # On a slow machine the time may be over before there is a connection.
        await client.until(lambda: client.server.left == client.server.connections)


# No connection


async def test_nothing_is_sent_to_a_server_that_does_not_listen() -> None:
    async with asking(silent) as client:
        client.listening.close()
        assert await client.fails() == ("ClientConnectorError", False)


async def test_nothing_is_sent_to_a_server_with_an_untrusted_certificate(tmp_path: Path) -> None:
    async with asking(silent, self_signed(tmp_path)) as client:
        assert await client.fails() == ("ClientConnectorCertificateError", False)


async def test_nothing_is_sent_to_a_server_without_tls() -> None:
    async def script(peer: Peer) -> None:
        await peer.says(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with asking(script) as client:
        client.origin = client.origin._replace(is_tls=True)
        assert await client.fails() == ("ClientConnectorSSLError", False)


@pytest.mark.parametrize("host", ["sqs.invalid", "x" * 64 + ".invalid"])
async def test_nothing_is_sent_to_an_unknown_host_name(host: str) -> None:
    async with asking(silent) as client:
        client.origin = client.origin._replace(host=host)
        assert await client.fails() == ("ClientConnectorDNSError", False)


async def test_a_host_with_an_address_that_does_not_answer_is_reached_at_another_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with asking(answering(OK)) as client:
        infos = await asyncio.get_running_loop().getaddrinfo("127.0.0.1", client.origin.port, type=1)

        async def two_addresses(*_: object, **__: object) -> list[object]:
            return [(*infos[0][:4], ("127.0.0.2", client.origin.port)), *infos]

        resolving = FakeResolver(asyncio.get_running_loop(), two_addresses)
        client.pool._loop = resolving  # type: ignore[assignment]  # a loop but for its resolver
        assert (await client.send()).body == b"ok"


async def test_the_final_dot_of_a_host_name_is_not_compared_with_its_certificate(tmp_path: Path) -> None:
    async with asking(answering(OK), self_signed(tmp_path), folder=tmp_path) as client:
        infos = await asyncio.get_running_loop().getaddrinfo("127.0.0.1", client.origin.port, type=1)

        async def local(*_: object, **__: object) -> list[object]:
            return [*infos]

        client.origin = client.origin._replace(host="localhost.")
        client.pool._loop = FakeResolver(asyncio.get_running_loop(), local)  # type: ignore[assignment]  # as above
        assert (await client.send()).body == b"ok"


class FakeResolver:
    """An event loop with another `getaddrinfo`; uvloop's cannot be patched."""

    def __init__(self, loop: asyncio.AbstractEventLoop, getaddrinfo: Callable[..., Awaitable[object]]) -> None:
        self._loop = loop
        self.getaddrinfo = getaddrinfo

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)


# Cancellation


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
async def test_a_cancelled_call_closes_its_connection_at_once_and_the_pool_still_works(
    raw: bytes, tls: ssl.SSLContext | None, tmp_path: Path
) -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.asked()
        if peer.number > 1:
            await peer.says(OK)
        else:
            await peer.says(raw)
            asked.set()
        await peer.is_left()

    async with asking(script, tls, folder=tmp_path) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.send)
            await asked.wait()
            group.cancel_scope.cancel()
        await client.until(lambda: client.server.left == 1 and len(client.pool) == 0)
        assert (await client.send()).body == b"ok"
        assert client.server.connections == 2


@pytest.mark.parametrize("is_cancelled_first", [False, True])
async def test_a_call_that_is_cancelled_as_its_answer_arrives_closes_its_connection(
    is_cancelled_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asking(answering(OK)) as client:
        await client.send()
        [connection] = client.pool._connections
        call = asyncio.create_task(client.send())
        deliver = connection._deliver

        def delivering(result: Received | Unreachable) -> None:
            if is_cancelled_first:
                call.cancel()
            deliver(result)
            call.cancel()

        monkeypatch.setattr(connection, "_deliver", delivering)
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not connection.is_open
        assert (await client.send()).body == b"ok"
        assert client.server.connections == 2


async def test_a_call_that_is_cancelled_while_it_connects_leaves_no_connection_open() -> None:
    shaking = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        shaking.set()
        await peer.is_left()

    async with asking(script) as client:
        client.origin = client.origin._replace(is_tls=True)
        async with anyio.create_task_group() as group:
            group.start_soon(client.send)
            await shaking.wait()
            group.cancel_scope.cancel()
        await client.until(lambda: client.server.left == 1)
        assert len(client.pool) == 0


# The end


async def test_closing_the_pool_leaves_no_connection_open(tls: ssl.SSLContext | None, tmp_path: Path) -> None:
    async with asking(answering(OK), tls, folder=tmp_path) as client:
        await asyncio.gather(*[client.send() for _ in range(3)])
        await client.pool.aclose()
        assert len(client.pool) == 0
        await client.until(lambda: client.server.left == client.server.connections)


async def test_closing_does_not_wait_long_for_a_server_that_does_not_close_tls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pool, "CLOSE_TIMEOUT_IN_SECONDS", 0.05)
    forever = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.asked()
        await peer.says(OK)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # typeshed knows it as a write transport
        await forever.wait()
        peer.writer.transport.abort()

    async with asking(script, self_signed(tmp_path), folder=tmp_path) as client:
        await client.send()
        with anyio.fail_after(60):
            await client.pool.aclose()
        assert len(client.pool) == 0
        forever.set()
        await client.until(lambda: client.server.left == 1)


# Where to


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/", Origin("sqs.eu-west-1.amazonaws.com", 443, True)),
        ("http://[::1]:4566/base", Origin("::1", 4566, False)),
        ("http://localhost?x", Origin("localhost", 80, False)),
    ],
)
def test_the_origin_of_a_url_is_its_scheme_host_and_port(url: str, origin: Origin) -> None:
    assert Origin.of(url) == origin


async def test_a_literal_ipv6_address_is_reached() -> None:
    try:
        async with asking(answering(OK), host="::1") as client:
            assert (await client.send()).body == b"ok"
    except OSError as error:
        pytest.skip(f"no such address here: {error}")
