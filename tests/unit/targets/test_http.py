"""How is a function reached over HTTP?"""

from __future__ import annotations

import base64
import contextlib
import gzip
import os
import socket
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import formatdate

import anyio
import anyio.lowlevel
import orjson
import pytest
from anyio.abc import SocketAttribute, SocketStream

from poller.facts import UrlSuspended
from poller.http.http1 import TOO_MUCH_HEAD
from poller.model.function import HttpService
from poller.model.invocation import (
    Answered,
    FunctionError,
    Invocation,
    LostAnswer,
    Response,
    Throttled,
    TooLarge,
    Unreachable,
)
from poller.model.stream import ShardId
from poller.targets import endpoints
from poller.targets.failures import RESPONSE_LIMIT_IN_BYTES
from poller.targets.http import HttpTarget
from poller.targets.http_answers import retry_after
from tests.fakes.clock import jump
from tests.fakes.functions import ALIAS, TRACE, TRACEPARENT, bare_call, full_call, function, http_kind, invocation
from tests.fakes.http_server import Drop, HttpServer, Reply, Request, http_server
from tests.fakes.recorded import Recorded

pytestmark = pytest.mark.anyio

EMULATOR = "/2015-03-31/functions/function/invocations"
NOW = 1_000_000_000.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@asynccontextmanager
async def opened(
    kind: HttpService, emit: Recorded | None = None, *, timeout_in_seconds: float = 60.0
) -> AsyncIterator[HttpTarget]:
    with anyio.fail_after(120):
        async with HttpTarget(
            function(kind, timeout_in_seconds=timeout_in_seconds), emit=emit or Recorded(), clock=lambda: NOW
        ) as target:
            yield target


def bare(response: Response) -> Response:
    """Return the response without its detail for people."""
    return replace(response, detail="") if isinstance(response, Throttled | Unreachable) else response


async def exchange(
    reply: Reply | Drop,
    *,
    path: str = "/",
    call: Invocation | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[Response, Request]:
    """Call a function at `path` that always answers with `reply`."""

    async def handler(_: Request) -> Reply | Drop:
        return reply

    async with http_server(handler) as server, opened(http_kind(server.url + path, headers=headers)) as target:
        response = await target.invoke(call or invocation())
        return response, server.requests[0]


REFUSED_URL = "http://127.0.0.1:1/"
"""A url without a server. A port that was free a moment ago may be another test's by now."""


# Plain HTTP


async def test_the_event_is_posted_as_json_and_the_body_is_the_answer() -> None:
    call = invocation(b'{"Records": []}', request_id="6f1d-1", attempt=2)
    response, request = await exchange(Reply(body=b"[1]"), path="/a/b%2Fc?key=1", call=call)
    assert response == Answered(b"[1]")
    assert (request.method, request.target, request.body) == ("POST", "/a/b%2Fc?key=1", b'{"Records": []}')
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-amzn-requestid"] == "6f1d-1"
    assert request.headers["lambda-runtime-aws-request-id"] == "6f1d-1"
    assert request.headers["x-poller-mapping"] == "new_users"
    assert request.headers["x-poller-attempt"] == "2"
    assert not request.headers.keys() & {"x-amz-client-context", "x-poller-shard-id", "x-poller-fencing-token"}


@pytest.mark.parametrize("path", ["/", EMULATOR])
async def test_a_batch_of_a_stream_has_its_shard_and_the_token_of_the_lease_as_headers(path: str) -> None:
    batch = invocation()._replace(shard_id=ShardId("shardId-000000000000"), fencing_token=7)
    _, request = await exchange(Reply(body=b"null"), path=path, call=batch)
    assert request.headers["x-poller-shard-id"] == "shardId-000000000000"
    assert request.headers["x-poller-fencing-token"] == "7"


async def test_configured_headers_are_sent_and_win_over_ours() -> None:
    headers = {"Authorization": "Bearer x", "Content-Type": "application/cloudevents+json"}
    _, request = await exchange(Reply(), headers=headers)
    assert request.headers["authorization"] == "Bearer x"
    assert request.headers["content-type"] == "application/cloudevents+json"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_status_2xx_is_an_answer(status: int) -> None:
    assert (await exchange(Reply(status=status)))[0] == Answered(b"")


@pytest.mark.parametrize(
    ("answer", "is_whole"),
    [
        (b"200 OK\r\nContent-Type: text/plain\r\n\r\n", False),
        (b"200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True),
        (b"204 No Content\r\n\r\n", True),
        (b"200 OK\r\n\r\n{}", True),
    ],
)
async def test_an_empty_answer_that_only_the_closed_connection_ends_is_not_whole(answer: bytes, is_whole: bool) -> None:
    response, _ = await exchange(Drop(b"HTTP/1.1 " + answer))
    assert response == Answered(b"{}" if answer.endswith(b"{}") else b"", is_whole=is_whole)


async def test_a_status_407_without_a_configured_proxy_is_unreachable() -> None:
    assert bare((await exchange(Reply(status=407)))[0]) == Unreachable(reason="HTTP.407")


async def test_an_answer_that_looks_like_an_error_is_an_answer() -> None:
    body = b'{"errorMessage": "x", "errorType": "E"}'
    assert (await exchange(Reply(body=body)))[0] == Answered(body)


async def test_a_cookie_is_not_sent_back() -> None:
    """One invocation must not influence another.

    The test uses a host name, because no client keeps cookies of an address.
    """
    async with pool_of(Reply(headers={"Set-Cookie": "session=1"}), Reply()) as (server, _):
        async with opened(http_kind(server.url.replace("127.0.0.1", "localhost"))) as target:
            for _number in range(2):
                assert await target.invoke(invocation()) == Answered(b"")
        assert [request.headers.get("cookie") for request in server.requests] == [None, None]


@pytest.mark.parametrize(("encoding", "packed"), [("gzip", gzip.compress), ("Deflate", zlib.compress)])
async def test_a_compressed_answer_is_decompressed(encoding: str, packed: Callable[[bytes], bytes]) -> None:
    reply = Reply(body=packed(b"[1]"), headers={"Content-Encoding": encoding})
    assert (await exchange(reply))[0] == Answered(b"[1]")


@pytest.mark.parametrize("packed", [gzip.compress, zlib.compress])
async def test_a_compressed_answer_with_trailing_bytes_is_not_read(packed: Callable[[bytes], bytes]) -> None:
    encoding = "gzip" if packed is gzip.compress else "deflate"
    failures = b'{"batchItemFailures":[{"itemIdentifier":"m1"}]}'
    reply = Reply(body=packed(b"") + packed(failures), headers={"Content-Encoding": encoding})
    assert (await exchange(reply))[0] == LostAnswer(reason=UNREADABLE)


async def test_an_answer_without_a_body_is_not_decompressed() -> None:
    assert (await exchange(Reply(status=204, headers={"Content-Encoding": "gzip"})))[0] == Answered(b"")


@pytest.mark.slow
async def test_a_small_answer_that_decompresses_to_a_huge_one_is_not_decompressed_fully() -> None:
    packing = zlib.compressobj()
    packed = b"".join([packing.compress(bytes(2**20)) for _ in range(64)]) + packing.flush()
    tracemalloc.start()
    try:
        response, _ = await exchange(Reply(body=packed, headers={"Content-Encoding": "deflate"}))
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()
    assert isinstance(response, FunctionError)
    assert response.error_type == "Function.ResponseSizeTooLarge"


async def test_the_limit_of_an_answer_holds_for_its_decompressed_size() -> None:
    reply = Reply(body=gzip.compress(bytes(RESPONSE_LIMIT_IN_BYTES + 1)), headers={"Content-Encoding": "gzip"})
    response, _ = await exchange(reply)
    assert isinstance(response, FunctionError)
    assert response.error_type == "Function.ResponseSizeTooLarge"


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 500, 502, 504])
async def test_any_other_status_is_a_function_error(status: int) -> None:
    reply = Reply(status=status, body=b"oh", headers={"Location": "/elsewhere"})
    response, _ = await exchange(reply)
    assert response == FunctionError(error_type=f"HTTP.{status}", message=f"{status}: oh", payload=b"oh")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no such table: orders", "500: no such table: orders"),
        (b"<html>\r\n  <h1>Oh</h1>\n", "500: <html> <h1>Oh</h1>"),
        (b"x" * 10_000, f"500: {'x' * 256}"),
        (b"\xff\xfe", "500: \ufffd\ufffd"),
        (b"", "500"),
    ],
)
async def test_a_failure_shows_the_beginning_of_its_body(body: bytes, words: str) -> None:
    response, _ = await exchange(Reply(status=500, body=body))
    assert isinstance(response, FunctionError)
    assert response.message == words


async def test_a_failure_does_not_show_its_reason_phrase() -> None:
    """By RFC 9112 a client ignores it, because a proxy may have changed it."""
    response, _ = await exchange(Drop(b"HTTP/1.1 500 s3cret\r\nContent-Length: 0\r\n\r\n"))
    assert isinstance(response, FunctionError)
    assert response.message == "500"


async def test_a_failure_that_repeats_the_event_does_not_show_it() -> None:
    event = b'{"Records": [{"body": "s3cret"}]}' * 100
    for part in (event, event[20:]):
        response, _ = await exchange(Reply(status=500, body=part), call=invocation(event))
        assert isinstance(response, FunctionError)
        assert response.message == "500"


@pytest.mark.parametrize(("status", "path"), [(429, "/"), (503, "/"), (500, EMULATOR), (504, EMULATOR)])
async def test_a_throttled_or_unreachable_answer_names_the_host_and_shows_the_services_message(
    status: int, path: str
) -> None:
    response, request = await exchange(Reply(status=status, body=b"come back later"), path=f"{path}?token=s3cret")
    assert isinstance(response, Throttled | Unreachable)
    assert response.detail == f"{request.headers['host']}: {status}: come back later"


@pytest.mark.parametrize("path", ["/", EMULATOR])
async def test_an_event_that_is_too_large_is_not_a_failure_of_the_function(path: str) -> None:
    response, _ = await exchange(Reply(status=413), path=path)
    assert response == TooLarge(error_type="HTTP.413", message="413")


async def test_a_413_that_arrives_before_the_body_is_sent_is_read() -> None:
    """nginx does this: it answers before it has read the body, and closes the connection."""

    async def refuse(stream: SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive()
            await stream.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive()

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as serving,
    ):
        serving.start_soon(listener.serve, refuse)
        port = listener.extra(SocketAttribute.local_port)
        async with opened(http_kind(f"http://127.0.0.1:{port}/")) as target:
            response = await target.invoke(invocation(b"x" * 6_000_000))
        serving.cancel_scope.cancel()
    assert response == TooLarge(error_type="HTTP.413", message="413")


@pytest.mark.parametrize("status", [429, 503])
async def test_a_throttled_service_is_retried_after_the_time_that_it_states(status: int) -> None:
    reply = Reply(status=status, headers={"Retry-After": "7"})
    assert bare((await exchange(reply))[0]) == Throttled(reason=f"HTTP.{status}", retry_after=7.0)
    assert bare((await exchange(Reply(status=status)))[0]) == Throttled(reason=f"HTTP.{status}", retry_after=None)


@pytest.mark.parametrize("ahead", [-7200, 0, 7200])
async def test_a_date_to_retry_after_is_compared_with_the_date_of_the_answer(ahead: float) -> None:
    there = time.time() + ahead
    headers = {"Date": formatdate(there, usegmt=True), "Retry-After": formatdate(there + 30, usegmt=True)}
    assert bare((await exchange(Reply(status=503, headers=headers)))[0]) == Throttled(
        reason="HTTP.503", retry_after=30.0
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        ("86400", 900.0),
        ("Sun, 09 Sep 2001 01:47:10 GMT", 30.0),
        ("Sun, 09 Sep 2001 01:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("²", None),
        ("", None),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("9" * 400, 900.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, now=NOW) == seconds


async def test_a_function_that_refuses_the_connection_is_unreachable() -> None:
    async with opened(http_kind(REFUSED_URL)) as target:
        response = await target.invoke(invocation())
    assert isinstance(response, Unreachable)
    assert "cannot connect to 127.0.0.1" in response.reason


async def test_a_connection_that_is_not_made_in_half_the_timeout_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # fills the backlog: the next one gets no answer
            async with opened(http_kind(f"http://127.0.0.1:{port}/"), timeout_in_seconds=6) as target:
                began = anyio.current_time()
                responses: list[Response] = []

                async def invoke() -> None:
                    responses.append(await target.invoke(invocation()))

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(invoke)
                    await anyio.wait_all_tasks_blocked()
                    jump(3)
                assert 3 <= anyio.current_time() - began < 5
    assert responses == [Unreachable(reason=f"no connection to 127.0.0.1:{port} in time")]


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"what is this\r\n\r\n"])
async def test_a_connection_lost_after_sending_is_a_lost_answer(raw: bytes) -> None:
    response, _ = await exchange(Drop(raw))
    assert isinstance(response, LostAnswer)


async def test_the_functions_timeout_is_kept() -> None:
    async def never(_: Request) -> Reply:
        await anyio.sleep_forever()
        raise AssertionError

    async with http_server(never) as server, opened(http_kind(server.url), timeout_in_seconds=30) as target:
        responses: list[Response] = []

        async def invoke() -> None:
            responses.append(await target.invoke(invocation()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(invoke)
            while not server.requests:
                await anyio.lowlevel.checkpoint()
            jump(30)
        [response] = responses
        while not server.abandoned:  # it notices a moment later that nobody waits any more
            await anyio.lowlevel.checkpoint()
    assert isinstance(response, FunctionError)
    assert (response.error_type, response.message) == (
        "Sandbox.Timedout",
        "RequestId: 6f1d1d51-1 Error: Task timed out after 30.00 seconds",
    )


async def test_an_answer_may_be_as_large_as_the_limit_and_no_larger() -> None:
    response, _ = await exchange(Reply(body=b"x" * RESPONSE_LIMIT_IN_BYTES))
    assert isinstance(response, Answered)
    response, _ = await exchange(Reply(body=b"x" * (RESPONSE_LIMIT_IN_BYTES + 1)))
    assert isinstance(response, FunctionError)
    assert response.error_type == "Function.ResponseSizeTooLarge"


async def test_an_endless_answer_is_read_up_to_twice_the_limit() -> None:
    sent = 0

    async def answer_for_ever(stream: SocketStream) -> None:
        nonlocal sent
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
            with contextlib.suppress(anyio.BrokenResourceError):
                while True:
                    await stream.send(bytes(2**16))
                    sent += 2**16

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as serving,
    ):
        serving.start_soon(listener.serve, answer_for_ever)
        async with opened(http_kind(f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/")) as target:
            response = await target.invoke(invocation())
        serving.cancel_scope.cancel()
    assert isinstance(response, FunctionError)
    assert response.error_type == "Function.ResponseSizeTooLarge"
    assert sent < 4 * RESPONSE_LIMIT_IN_BYTES


async def test_a_large_event_is_sent_completely() -> None:
    _, request = await exchange(Reply(), call=invocation(b"x" * 6_000_000))
    assert request.body == b"x" * 6_000_000


async def test_a_connection_is_used_again() -> None:
    async def handler(_: Request) -> Reply:
        return Reply(headers={"Set-Cookie": "session=1"})

    async with http_server(handler) as server, opened(http_kind(server.url)) as target:
        for _ in range(3):
            await target.invoke(invocation())
    assert (len(server.requests), server.connections) == (3, 1)
    assert "cookie" not in server.requests[-1].headers


async def test_a_connection_that_was_idle_for_as_long_as_gunicorn_keeps_one_is_not_used_again() -> None:
    async def handler(_: Request) -> Reply:
        return Reply()

    async with http_server(handler) as server, opened(http_kind(server.url)) as target:
        await target.invoke(invocation())
        jump(2)
        for _turn in range(2):  # the loop turns once to see that the time is over, and once more to act
            await anyio.lowlevel.checkpoint()
        await target.invoke(invocation())
    assert (len(server.requests), server.connections) == (2, 2)


# A proxy


@pytest.fixture
def proxy_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[HttpServer], None]:
    """Use this server, which needs a password, as the proxy of all `.invalid` hosts, with http and https."""

    def through(proxy: HttpServer) -> None:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url.replace("//", "//user:s3cret@"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")

    return through


async def answered(request: Request) -> Reply:
    return Reply(body=b"[1]")


async def test_a_url_is_reached_through_the_proxy_of_the_environment(proxy_of: Callable[[HttpServer], None]) -> None:
    async with http_server(answered) as proxy, http_server(answered) as direct:
        proxy_of(proxy)
        async with opened(http_kind("http://function.invalid:9999/hook?key=1", direct.url)) as target:
            for _ in range(2):
                assert await target.invoke(invocation()) == Answered(b"[1]")
    assert [request.target for request in proxy.requests] == ["http://function.invalid:9999/hook?key=1"]
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic dXNlcjpzM2NyZXQ="
    assert [request.target for request in direct.requests] == ["/"], "no_proxy names its host"
    assert "proxy-authorization" not in direct.requests[0].headers


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Reply(status=407, body=b"s3cret"), Unreachable(reason="HTTP.407")),
        (Reply(status=503), Throttled(reason="HTTP.503")),
    ],
)
async def test_a_request_that_a_proxy_refuses_did_not_reach_the_function(
    answer: Reply, expected: Throttled | Unreachable, proxy_of: Callable[[HttpServer], None]
) -> None:
    async def handler(_: Request) -> Reply:
        return answer

    async with http_server(handler) as proxy:
        proxy_of(proxy)
        async with opened(http_kind("http://function.invalid/hook")) as target:
            response = await target.invoke(invocation())
    assert bare(response) == expected
    assert "s3cret" not in repr(response)


@pytest.mark.parametrize("status", [403, 407, 502])
async def test_a_tunnel_that_a_proxy_refuses_is_unreachable_and_shows_no_password(
    status: int, proxy_of: Callable[[HttpServer], None]
) -> None:
    async def handler(_: Request) -> Reply:
        return Reply(status=status, headers={"Proxy-Authenticate": "Basic realm=s3cret"})

    async with http_server(handler) as proxy:
        proxy_of(proxy)
        async with opened(http_kind("https://function.invalid/s3cret")) as target:
            response = await target.invoke(invocation())
    assert [(request.method, request.target) for request in proxy.requests] == [("CONNECT", "function.invalid:443")]
    reason = f"the proxy refused the connection with status {status}"
    assert response == Unreachable(reason=reason)


async def test_a_proxy_that_closes_before_the_tunnel_is_open_sent_nothing_to_the_function(
    proxy_of: Callable[[HttpServer], None],
) -> None:
    async def handler(_: Request) -> Drop:
        return Drop()

    async with http_server(handler) as proxy:
        proxy_of(proxy)
        async with opened(http_kind("https://function.invalid/s3cret")) as target:
            assert await target.invoke(invocation()) == Unreachable(reason="the server disconnected")
        async with opened(http_kind("http://function.invalid/s3cret")) as target:
            assert await target.invoke(invocation()) == LostAnswer(reason="the server disconnected")


@pytest.mark.slow
async def test_a_proxy_that_never_opens_the_tunnel_is_not_a_timeout_of_the_function(
    proxy_of: Callable[[HttpServer], None],
) -> None:
    async def handler(_: Request) -> Reply:
        await anyio.sleep_forever()
        raise AssertionError

    async with http_server(handler) as proxy:
        proxy_of(proxy)
        async with opened(http_kind("https://function.invalid/s3cret"), timeout_in_seconds=0.4) as target:
            response = await target.invoke(invocation())
    assert response == Unreachable(reason=f"no connection to {proxy.url.removeprefix('http://').rstrip('/')} in time")


@pytest.mark.slow
async def test_a_proxy_that_does_not_answer_is_named_by_its_own_host_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setenv("http_proxy", f"http://user:s3cret@127.0.0.1:{port}")
        with socket.create_connection(("127.0.0.1", port)):  # fills the backlog: the next one gets no answer
            async with opened(http_kind("http://function.invalid/"), timeout_in_seconds=0.4) as target:
                response = await target.invoke(invocation())
    assert response == Unreachable(reason=f"no connection to 127.0.0.1:{port} in time")


async def test_an_unreachable_proxy_is_named_by_host_and_port_only(monkeypatch: pytest.MonkeyPatch) -> None:
    url = REFUSED_URL.rstrip("/")
    monkeypatch.setenv("http_proxy", url.replace("//", "//user:s3cret@"))
    async with opened(http_kind("http://function.invalid/")) as target:
        response = await target.invoke(invocation())
    place = url.removeprefix("http://")
    assert response == Unreachable(reason=f"cannot connect to the proxy {place}: Connection refused")


# The Runtime Interface Emulator


async def test_an_emulator_gets_the_client_context() -> None:
    _, request = await exchange(Reply(body=b"null"), path=EMULATOR)
    context = orjson.loads(base64.b64decode(request.headers["x-amz-client-context"]))
    assert context == {"custom": {"mapping": "new_users", "request_id": "6f1d1d51-1", "attempt": "1"}}
    assert request.headers["x-amzn-requestid"] == "6f1d1d51-1"


@pytest.mark.parametrize("path", ["/", EMULATOR])
async def test_a_service_is_given_what_a_client_of_the_invoke_api_sent(path: str) -> None:
    _, request = await exchange(Reply(body=b"null"), path=path, call=full_call())
    assert orjson.loads(base64.b64decode(request.headers["x-amz-client-context"])) == {"custom": {"user": "Zoë"}}
    assert request.headers["x-amzn-trace-id"] == TRACE
    assert request.headers["traceparent"] == TRACEPARENT
    assert request.headers["lambda-runtime-invoked-function-arn"] == ALIAS
    assert request.headers["x-amz-log-type"] == "Tail"
    assert "x-poller-mapping" not in request.headers


@pytest.mark.parametrize("path", ["/", EMULATOR])
async def test_a_service_is_given_nothing_that_a_client_did_not_send(path: str) -> None:
    _, request = await exchange(Reply(body=b"null"), path=path, call=bare_call())
    unsent = {"x-amz-client-context", "x-amzn-trace-id", "traceparent", "x-amz-log-type", "x-poller-mapping"}
    assert not request.headers.keys() & (unsent | {"lambda-runtime-invoked-function-arn"})


@pytest.mark.parametrize("path", ["/", EMULATOR])
async def test_a_log_tail_is_passed_on_if_the_client_asked_for_it(path: str) -> None:
    reply = Reply(body=b"null", headers={"X-Amz-Log-Result": base64.b64encode(b"END").decode()})
    assert (await exchange(reply, path=path, call=full_call()))[0] == Answered(b"null", log_tail="END")
    assert (await exchange(reply, path=path, call=bare_call()))[0] == Answered(b"null")


async def test_the_log_tail_of_an_emulators_error_is_passed_on() -> None:
    headers = {"X-Amz-Log-Result": base64.b64encode(b"END").decode(), "X-Amz-Function-Error": "Unhandled"}
    response, _ = await exchange(Reply(body=ERROR, headers=headers), path=EMULATOR, call=full_call())
    assert response == replace(THE_ERROR, log_tail="END")


ERROR = b'{"errorMessage": "no", "errorType": "ValueError", "stackTrace": []}'
THE_ERROR = FunctionError(error_type="ValueError", message="no", payload=ERROR)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(body=b'{"batchItemFailures": []}'), Answered(b'{"batchItemFailures": []}')),
        (Reply(body=b'"Task timed out after 3.00 seconds"'), Answered(b'"Task timed out after 3.00 seconds"')),
        (Reply(body=ERROR), THE_ERROR),
        (Reply(status=502, body=ERROR), THE_ERROR),
        (Reply(status=500, body=ERROR, headers={"Error-Type": "Function.Error"}), THE_ERROR),
        (
            Reply(body=b'{"errorMessage": "no"}', headers={"X-Amz-Function-Error": "Unhandled"}),
            FunctionError(error_type="Function.Unknown", message="no", payload=b'{"errorMessage": "no"}'),
        ),
        (Reply(status=400), Unreachable(reason="HTTP.400")),
        (Reply(status=500), Unreachable(reason="HTTP.500")),
        (Reply(status=500, body=ERROR), Unreachable(reason="HTTP.500")),
        (Reply(status=504), Unreachable(reason="HTTP.504")),
        (Reply(status=429, headers={"Retry-After": "2"}), Throttled(reason="HTTP.429", retry_after=2.0)),
        (Reply(status=404), FunctionError(error_type="HTTP.404", message="404")),
        (Reply(status=301), FunctionError(error_type="HTTP.301", message="301")),
    ],
)
async def test_an_emulators_answers_are_read_as_those_of_lambda(reply: Reply, expected: Response) -> None:
    assert bare((await exchange(reply, path=EMULATOR))[0]) == expected


@pytest.mark.parametrize(
    "path", ["/rie/f" + EMULATOR, EMULATOR + "/?key=1", "/2015-03-31/functions/resize/invocations"]
)
async def test_an_emulator_behind_a_prefix_or_with_a_query_is_read_in_the_same_way(path: str) -> None:
    assert (await exchange(Reply(body=ERROR), path=path))[0] == THE_ERROR


async def test_a_timeout_that_an_emulator_reports_is_a_timeout_of_the_function() -> None:
    response, _ = await exchange(Reply(body=b"Task timed out after 3.00 seconds"), path=EMULATOR)
    assert isinstance(response, FunctionError)
    assert response.error_type == "Sandbox.Timedout"
    assert response.message == "RequestId: 6f1d1d51-1 Error: Task timed out after 3.00 seconds"


async def test_the_failure_of_an_emulator_whose_runtime_died_says_so() -> None:
    response, _ = await exchange(Reply(status=502), path=EMULATOR)
    assert isinstance(response, FunctionError)
    assert response.error_type == "Runtime.ExitError"


class Crowd:
    """A handler that takes a short time. It counts the most calls at once."""

    def __init__(self) -> None:
        self.under_way = 0
        self.most = 0

    async def __call__(self, _: Request) -> Reply:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await anyio.sleep(0.01)
        self.under_way -= 1
        return Reply(body=b"null")


async def test_an_emulator_serves_one_call_at_a_time() -> None:
    crowd = Crowd()
    async with (
        http_server(crowd) as server,
        opened(http_kind(server.url + EMULATOR)) as target,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(5):
            tasks.start_soon(target.invoke, invocation())
    assert (len(server.requests), crowd.most) == (5, 1)


async def test_a_call_that_finds_no_free_emulator_in_time_is_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "LONGEST_WAIT_IN_SECONDS", 0.01)
    is_free = anyio.Event()

    async def long(_: Request) -> Reply:
        await is_free.wait()
        return Reply(body=b"null")

    async with (
        http_server(long) as server,
        opened(http_kind(server.url + EMULATOR)) as target,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(target.invoke, invocation())
        await anyio.lowlevel.checkpoint()
        answer = await target.invoke(invocation())
        is_free.set()
    assert answer == Throttled(reason="EmulatorBusy", detail="every emulator of the function serves another call")
    assert len(server.requests) == 1


async def test_a_call_that_every_emulator_refuses_waits_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "LONGEST_WAIT_IN_SECONDS", 600.0)

    async def refuse(_: Request) -> Reply:
        return Reply(status=500, body=b"starting")

    async with (
        http_server(refuse) as one,
        http_server(refuse) as two,
        opened(http_kind(one.url + EMULATOR, two.url + EMULATOR)) as target,
    ):
        with anyio.fail_after(60):
            assert isinstance(await target.invoke(invocation()), Unreachable)
    assert (len(one.requests), len(two.requests)) == (1, 1)


async def test_several_emulators_serve_one_call_each() -> None:
    one, two = Crowd(), Crowd()
    async with (
        http_server(one) as first,
        http_server(two) as second,
        opened(http_kind(first.url + EMULATOR, second.url + EMULATOR)) as target,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(10):
            tasks.start_soon(target.invoke, invocation())
    assert (one.most, two.most) == (1, 1)
    assert len(first.requests) == len(second.requests) == 5


async def test_a_plain_service_serves_more_calls_at_once_than_aiohttp_makes_by_default() -> None:
    under_way = 0
    all_are_there = anyio.Event()

    async def handler(_: Request) -> Reply:
        nonlocal under_way
        under_way += 1
        if under_way == 101:
            all_are_there.set()
        await all_are_there.wait()
        return Reply()

    async with (
        http_server(handler) as server,
        opened(http_kind(server.url), timeout_in_seconds=20) as target,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(101):
            tasks.start_soon(target.invoke, invocation())
    assert (len(server.requests), server.abandoned) == (101, 0)


# A pool of urls


@asynccontextmanager
async def pool_of(first: Reply | Drop, *later: Reply | Drop) -> AsyncIterator[tuple[HttpServer, HttpServer]]:
    """Yield two servers: one always sends the first reply, the other the later ones in turn and then the last one."""
    left = list(later)

    async def always(_: Request) -> Reply | Drop:
        return first

    async def in_turn(_: Request) -> Reply | Drop:
        return left.pop(0) if len(left) > 1 else left[0]

    async with http_server(always) as one, http_server(in_turn) as other:
        yield one, other


async def test_the_urls_of_a_function_take_turns() -> None:
    async with pool_of(Reply(), Reply()) as (first, second), opened(http_kind(first.url, second.url)) as target:
        for _ in range(6):
            await target.invoke(invocation())
    assert len(first.requests) == len(second.requests) == 3


async def test_a_dead_url_is_suspended_and_a_live_one_is_tried() -> None:
    emit = Recorded()
    dead = REFUSED_URL.replace("http://", "http://user:secret@") + "hook-secret?token=secret"
    async with (
        pool_of(Reply(), Reply()) as (first, second),
        opened(http_kind(dead, first.url, second.url), emit) as target,
    ):
        for _ in range(6):
            assert await target.invoke(invocation()) == Answered(b"")
    (fact,) = emit.of(UrlSuspended)
    assert fact.url == dead.replace("user:secret@", "").removesuffix("/hook-secret?token=secret")
    assert "cannot connect" in fact.detail
    assert 0.5 <= fact.retry_in_seconds <= 1.0
    assert len(first.requests) == len(second.requests) == 3


@pytest.mark.parametrize("reply", [Reply(status=503), Reply(status=429)])
async def test_after_a_throttled_url_another_one_is_tried(reply: Reply) -> None:
    emit = Recorded()
    async with (
        pool_of(reply, Reply()) as (first, second),
        opened(http_kind(first.url, second.url), emit) as target,
    ):
        for _ in range(3):
            assert await target.invoke(invocation()) == Answered(b"")
    assert (len(first.requests), len(second.requests)) == (1, 3)
    assert [fact.detail for fact in emit.of(UrlSuspended)] == [f"HTTP.{reply.status}"]


@pytest.mark.parametrize("reply", [Reply(status=502), Reply(status=504), Drop()])
async def test_a_url_that_may_have_run_the_function_is_suspended_and_no_other_is_tried(reply: Reply | Drop) -> None:
    emit = Recorded()
    async with (
        pool_of(reply, Reply()) as (first, second),
        opened(http_kind(first.url, second.url), emit) as target,
    ):
        assert isinstance(await target.invoke(invocation()), FunctionError | LostAnswer)
        for _ in range(3):
            assert await target.invoke(invocation()) == Answered(b"")
    assert (len(first.requests), len(second.requests)) == (1, 3)
    assert len(emit.of(UrlSuspended)) == 1


async def test_a_failing_function_does_not_suspend_its_url() -> None:
    emit = Recorded()
    async with (
        pool_of(Reply(status=500), Reply()) as (first, second),
        opened(http_kind(first.url, second.url), emit) as target,
    ):
        for _ in range(4):
            await target.invoke(invocation())
    assert len(first.requests) == len(second.requests) == 2
    assert emit.facts == []


async def test_a_throttle_is_reported_if_all_urls_fail_and_one_is_throttled() -> None:
    async with (
        pool_of(Reply(status=429, headers={"Retry-After": "3"}), Reply()) as (first, _),
        opened(http_kind(first.url, REFUSED_URL)) as target,
    ):
        assert bare(await target.invoke(invocation())) == Throttled(reason="HTTP.429", retry_after=3.0)


async def test_if_all_urls_are_suspended_the_one_due_soonest_is_tried() -> None:
    later, sooner = (Reply(status=503, headers={"Retry-After": seconds}) for seconds in ("60", "30"))
    async with (
        pool_of(later, sooner, Reply(body=b"1")) as (first, second),
        opened(http_kind(first.url, second.url)) as target,
    ):
        assert isinstance(await target.invoke(invocation()), Throttled)
        assert await target.invoke(invocation()) == Answered(b"1")
    assert (len(first.requests), len(second.requests)) == (1, 2)


async def test_a_url_is_tried_again_after_its_pause() -> None:
    async with (
        pool_of(Reply(status=503, headers={"Retry-After": "0"}), Reply()) as (first, second),
        opened(http_kind(first.url, second.url)) as target,
    ):
        for _ in range(4):
            assert await target.invoke(invocation()) == Answered(b"")
    assert len(first.requests) >= 2


async def test_a_single_url_is_never_suspended() -> None:
    emit = Recorded()
    async with opened(http_kind(REFUSED_URL), emit) as target:
        for _ in range(3):
            assert isinstance(await target.invoke(invocation()), Unreachable)
    assert emit.facts == []


# What would be said too much, or not at all

SECRETS = "/hook-s3cret?token=s3cret"


@pytest.mark.slow
async def test_the_error_of_a_connection_that_is_not_made_shows_only_host_and_port() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            kind = http_kind(f"http://user:s3cret@127.0.0.1:{port}{SECRETS}")
            async with opened(kind, timeout_in_seconds=0.4) as target:
                response = await target.invoke(invocation())
    assert response == Unreachable(reason=f"no connection to 127.0.0.1:{port} in time")


async def test_the_error_of_a_refused_connection_shows_only_host_and_port() -> None:
    url = REFUSED_URL.rstrip("/")
    async with opened(http_kind(url.replace("//", "//user:s3cret@") + SECRETS)) as target:
        response = await target.invoke(invocation())
    assert isinstance(response, Unreachable)
    assert url.removeprefix("http://") in response.reason
    assert "s3cret" not in response.reason


async def test_a_request_that_cannot_be_made_is_not_sent_and_shows_no_value() -> None:
    async with (
        pool_of(Reply(), Reply()) as (server, _),
        opened(http_kind(server.url, headers={"Authorization": "s3cret\r\nx: y"})) as target,
    ):
        for _number in range(2):
            response = await target.invoke(invocation())
            assert response == Unreachable(reason="the request cannot be made: a line break in 'authorization'")
    assert server.requests == []


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
async def test_a_host_name_that_cannot_be_resolved_is_unreachable(host: str) -> None:
    async with opened(http_kind(f"http://{host}{SECRETS}")) as target:
        response = await target.invoke(invocation())
    assert response == Unreachable(reason=f"cannot connect to {host}:80: UnicodeError")


async def test_the_user_of_a_url_is_sent_as_basic_authorization() -> None:
    async with (
        pool_of(Reply(), Reply()) as (server, _),
        opened(http_kind(server.url.replace("//", "//us%65r:p%3Aw@") + "/hook")) as target,
    ):
        await target.invoke(invocation())
    (request,) = server.requests
    assert request.headers["authorization"] == f"Basic {base64.b64encode(b'user:p:w').decode()}"
    assert request.target == "/hook"
    assert request.headers["host"] == server.url.removeprefix("http://")


UNREADABLE = "the answer's content-encoding cannot be read"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\nok", UNREADABLE),
        (b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", UNREADABLE),
        (b"X: " + b"s" * 70_000 + b"\r\n\r\n", TOO_MUCH_HEAD),
        (b"X: s\r\n" * 200 + b"\r\n", TOO_MUCH_HEAD),
        (b"s3cret\r\n\r\n", "the answer is not HTTP: Invalid header token"),
        (b"Content-Encoding: deflate\r\nContent-Length: 5\r\n\r\n" + zlib.compress(b"1")[:5], UNREADABLE),
    ],
)
async def test_the_error_of_an_unreadable_answer_says_why_and_does_not_show_it(answer: bytes, reason: str) -> None:
    response, _ = await exchange(Drop(b"HTTP/1.1 200 OK\r\n" + answer), path=SECRETS)
    assert response == LostAnswer(reason=reason)


async def test_an_answer_with_a_large_header_is_read() -> None:
    assert (await exchange(Reply(headers={"X": "x" * 60_000}, body=b"1")))[0] == Answered(b"1")


async def test_a_configured_header_replaces_ours_whatever_its_case() -> None:
    heads: list[bytes] = []

    async def answer(stream: SocketStream) -> None:
        async with stream:
            heads.append((await stream.receive()).lower())
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        kind = http_kind(
            f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}",
            headers={"content-type": "text/plain", "ACCEPT-ENCODING": "gzip"},
        )
        async with opened(kind) as target:
            await target.invoke(invocation())
        tasks.cancel_scope.cancel()
    (head,) = heads
    ours = (b"content-type", b"accept-encoding")
    assert sorted(line for line in head.split(b"\r\n") if line.startswith(ours)) == [
        b"accept-encoding: gzip",
        b"content-type: text/plain",
    ]
