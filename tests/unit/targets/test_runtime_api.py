"""How does the Runtime API answer a child?"""

from __future__ import annotations

import errno
import gc
import io
import os
import resource
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import anyio
import anyio.lowlevel
import anyio.to_thread
import orjson
import pytest

from poller.facts import RuntimeApiConnectionRejected
from poller.model.invocation import Answered, FunctionError, Invocation, Response
from poller.model.stream import ShardId
from poller.targets.failures import RESPONSE_LIMIT_IN_BYTES, exited
from poller.targets.runtime.api import Handover, RuntimeApi
from poller.targets.runtime.peer import Origin
from tests.fakes.functions import ALIAS, ARN, TRACE, bare_call, command_kind, full_call, function, invocation
from tests.fakes.recorded import Recorded
from tests.fakes.sessions import other_session

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def nothing_before(event: Invocation) -> None:
    """There is no output to read before the event."""


class Client:
    """A runtime client that does what the test says."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._url = f"http://{address}/2018-06-01/runtime/"

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(method, self._url + path, data=body, headers=names) as reply:
            return reply.status, dict(reply.headers), await reply.read()

    async def error(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str, str]:
        status, _, content = await self.call(method, path, body, **headers)
        document = orjson.loads(content)
        return status, document["errorType"], document["errorMessage"]


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[RuntimeApi, Client]]:
    """Yield an API whose child is the session of these tests, and a client of it."""
    api = RuntimeApi(function(command_kind("x"), timeout_in_seconds=30), before_event=nothing_before, emit=Recorded())
    with api.listening() as address:
        async with anyio.create_task_group() as tasks, aiohttp.ClientSession() as session:
            tasks.start_soon(api.serve, os.getsid(0))
            yield api, Client(session, address)
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def listening(
    emit: Recorded,
    before_event: Callable[[Invocation], Awaitable[None]] = nothing_before,
    child: int | None = None,
) -> AsyncIterator[tuple[RuntimeApi, str]]:
    """Yield an API for this child, or for the session of these tests, and its address."""
    api = RuntimeApi(function(command_kind("x")), before_event=before_event, emit=emit)
    with api.listening() as address:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(api.serve, child or os.getsid(0))
            yield api, address
            tasks.cancel_scope.cancel()


async def answer_to(handover: Handover) -> Response | None:
    with anyio.fail_after(60):
        await handover.settled.wait()
    return handover.response


async def test_next_returns_the_event_and_all_headers_that_a_runtime_needs() -> None:
    async with serving() as (api, client):
        api.offer(Handover(invocation(b'{"Records": []}', request_id="6f1d-1", attempt=3)))
        before = time.time()
        status, headers, body = await client.call("GET", "invocation/next")
    assert (status, body) == (200, b'{"Records": []}')
    assert headers["Lambda-Runtime-Aws-Request-Id"] == "6f1d-1"
    assert headers["Lambda-Runtime-Invoked-Function-Arn"] == str(ARN)
    assert headers["Content-Type"] == "application/json"
    assert headers["Lambda-Runtime-Trace-Id"].startswith("Root=1-")
    assert before + 29.9 < int(headers["Lambda-Runtime-Deadline-Ms"]) / 1000 < time.time() + 30.1
    assert orjson.loads(headers["Lambda-Runtime-Client-Context"]) == {
        "custom": {"mapping": "new_users", "request_id": "6f1d-1", "attempt": "3"}
    }


async def test_next_brings_the_shard_of_a_streams_batch_and_the_token_of_its_lease() -> None:
    async with serving() as (api, client):
        api.offer(Handover(invocation()._replace(shard_id=ShardId("shardId-000000000000"), fencing_token=7)))
        _, headers, _ = await client.call("GET", "invocation/next")
    custom = orjson.loads(headers["Lambda-Runtime-Client-Context"])["custom"]
    assert (custom["shard_id"], custom["fencing_token"]) == ("shardId-000000000000", "7")


async def test_next_brings_what_a_client_of_the_invoke_api_sent() -> None:
    async with serving() as (api, client):
        api.offer(Handover(full_call()))
        _, headers, _ = await client.call("GET", "invocation/next")
    assert headers["Lambda-Runtime-Invoked-Function-Arn"] == ALIAS
    assert headers["Lambda-Runtime-Trace-Id"] == TRACE
    assert orjson.loads(headers["Lambda-Runtime-Client-Context"]) == {"custom": {"user": "Zoë"}}


async def test_a_call_without_a_client_context_brings_none() -> None:
    async with serving() as (api, client):
        api.offer(Handover(bare_call()))
        _, headers, _ = await client.call("GET", "invocation/next")
    assert headers["Lambda-Runtime-Invoked-Function-Arn"] == str(ARN)
    assert headers["Lambda-Runtime-Trace-Id"].startswith("Root=1-")
    assert "Lambda-Runtime-Client-Context" not in headers


async def test_next_waits_until_there_is_an_invocation() -> None:
    async with serving() as (api, client), anyio.create_task_group() as tasks:
        bodies: list[bytes] = []

        async def ask() -> None:
            bodies.append((await client.call("GET", "invocation/next"))[2])

        tasks.start_soon(ask)
        with anyio.fail_after(60):
            while not api.has_asked:
                await anyio.lowlevel.checkpoint()
        assert bodies == []
        api.offer(Handover(invocation(b"1")))
    assert bodies == [b"1"]


async def test_an_answer_settles_the_invocation() -> None:
    async with serving() as (api, client):
        handover = Handover(invocation(request_id="a"))
        api.offer(handover)
        await client.call("GET", "invocation/next")
        status, _, body = await client.call("POST", "invocation/a/response", b'{"batchItemFailures": []}')
        assert (status, orjson.loads(body)) == (202, {"status": "OK"})
        assert await answer_to(handover) == Answered(b'{"batchItemFailures": []}')


async def test_a_streamed_answer_is_an_answer_in_chunks() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"a"'
        yield b": 1}"

    async with serving() as (api, client):
        handover = Handover(invocation(request_id="a"))
        api.offer(handover)
        await client.call("GET", "invocation/next")
        mode = {"Lambda_Runtime_Function_Response_Mode": "streaming"}
        status, *_ = await client.call("POST", "invocation/a/response", chunks(), **mode)
        assert status == 202
        assert await answer_to(handover) == Answered(b'{"a": 1}')


async def test_an_unknown_response_mode_is_refused() -> None:
    async with serving() as (api, client):
        api.offer(Handover(invocation(request_id="a")))
        await client.call("GET", "invocation/next")
        mode = {"Lambda_Runtime_Function_Response_Mode": "telepathy"}
        assert await client.error("POST", "invocation/a/response", b"1", **mode) == (
            400,
            "InvalidFunctionResponseMode",
            "Invalid function response mode",
        )


async def test_an_error_settles_the_invocation_with_the_document_as_posted() -> None:
    async with serving() as (api, client):
        handover = Handover(invocation(request_id="a"))
        api.offer(handover)
        await client.call("GET", "invocation/next")
        document = b'{"errorMessage": "no", "errorType": "ValueError", "stackTrace": []}'
        headers = {"Lambda_Runtime_Function_Error_Type": "Function.Oops", "Lambda_Runtime_Function_XRay": "x" * 900_000}
        status, *_ = await client.call("POST", "invocation/a/error", document, **headers)
        assert status == 202
        assert await answer_to(handover) == FunctionError(error_type="ValueError", message="no", payload=document)


async def test_another_requests_id_is_refused() -> None:
    async with serving() as (api, client):
        handover = Handover(invocation(request_id="a"))
        api.offer(handover)
        await client.call("GET", "invocation/next")
        expected = (400, "InvalidRequestID", "Invalid request ID")
        assert await client.error("POST", "invocation/b/response", b"1") == expected
        assert await client.error("POST", "invocation/b/error", b"{}") == expected
        assert not handover.settled.is_set()


async def test_a_second_answer_is_refused() -> None:
    async with serving() as (api, client):
        handover = Handover(invocation(request_id="a"))
        api.offer(handover)
        await client.call("GET", "invocation/next")
        await client.call("POST", "invocation/a/response", b"1")
        expected = (400, "InvalidRequestID", "Invalid request ID")
        assert await client.error("POST", "invocation/a/response", b"2") == expected
        assert await client.error("POST", "invocation/a/error", b"{}") == expected
        assert await answer_to(handover) == Answered(b"1")


async def test_an_answer_that_the_child_does_not_finish_does_not_count() -> None:
    half_way, over = anyio.Event(), anyio.Event()

    async def halves() -> AsyncIterator[bytes]:
        yield b'"half'
        half_way.set()
        await over.wait()
        yield b' and half"'

    async with serving() as (api, client), anyio.create_task_group() as tasks:
        handover = Handover(invocation(request_id="a"))
        api.offer(handover)
        await client.call("GET", "invocation/next")
        tasks.start_soon(client.error, "POST", "invocation/a/response", halves())
        await half_way.wait()
        api.end(partial(exited, status=1))
        over.set()
        answer = await answer_to(handover)
    assert isinstance(answer, FunctionError)
    assert answer.error_type == "Runtime.ExitError"


async def test_calls_out_of_turn_are_refused() -> None:
    async with serving() as (api, client):
        assert (await client.error("POST", "invocation/a/response", b"1"))[:2] == (403, "InvalidStateTransition")
        api.offer(Handover(invocation(request_id="a")))
        await client.call("GET", "invocation/next")
        assert (await client.error("GET", "invocation/next"))[:2] == (403, "InvalidStateTransition")
        assert (await client.error("POST", "init/error", b"{}"))[:2] == (403, "InvalidStateTransition")


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}])
async def test_a_page_of_another_site_can_call_nothing(headers: dict[str, str]) -> None:
    async with serving() as (api, client):
        handover = Handover(invocation(request_id="a"))
        api.offer(handover)
        for method, path in (("POST", "init/error"), ("GET", "invocation/next")):
            assert (await client.error(method, path, **headers))[:2] == (403, "AnotherSite")
        await client.call("GET", "invocation/next")
        for path in ("invocation/a/response", "invocation/a/error"):
            assert (await client.error("POST", path, b"1", **headers))[:2] == (403, "AnotherSite")
        assert handover.response is None
        assert (await client.call("POST", "invocation/a/response", b"2"))[0] == 202
    assert handover.response == Answered(b"2")


@pytest.mark.parametrize("kind", ["response", "error"])
async def test_an_answer_that_is_too_large_fails_for_the_runtime_and_for_the_mapping(kind: str) -> None:
    async with serving() as (api, client):
        handover = Handover(invocation(request_id="a"))
        api.offer(handover)
        await client.call("GET", "invocation/next")
        assert await client.error("POST", f"invocation/a/{kind}", io.BytesIO(b"x" * (RESPONSE_LIMIT_IN_BYTES + 1))) == (
            413,
            "RequestEntityTooLarge",
            "Exceeded maximum allowed payload size (6291556 bytes).",
        )
        answer = await answer_to(handover)
        assert isinstance(answer, FunctionError)
        assert answer.error_type == "Function.ResponseSizeTooLarge"


async def test_an_answer_may_be_as_large_as_the_limit() -> None:
    async with serving() as (api, client):
        handover = Handover(invocation(request_id="a"))
        api.offer(handover)
        await client.call("GET", "invocation/next")
        status, *_ = await client.call("POST", "invocation/a/response", io.BytesIO(b"x" * RESPONSE_LIMIT_IN_BYTES))
        assert status == 202
        answer = await answer_to(handover)
        assert isinstance(answer, Answered)
        assert len(answer.payload) == RESPONSE_LIMIT_IN_BYTES


async def test_no_more_than_the_limit_of_a_large_answer_is_kept_in_memory() -> None:
    piece = bytes(2**16)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(2**25 // len(piece)):
            yield piece

    async with serving() as (api, client):
        api.offer(Handover(invocation(request_id="a")))
        await client.call("GET", "invocation/next")
        tracemalloc.start()
        try:
            status, *_ = await client.call("POST", "invocation/a/response", pieces())
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert status == 413
    assert most < 2**24


async def test_an_init_error_fails_the_invocation_that_waits() -> None:
    async with serving() as (api, client):
        handover = Handover(invocation())
        api.offer(handover)
        document = b'{"errorMessage": "no module", "errorType": "Runtime.ImportModuleError"}'
        status, *_ = await client.call("POST", "init/error", document)
        assert status == 202
        answer = await answer_to(handover)
        assert answer == FunctionError(error_type="Runtime.ImportModuleError", message="no module", payload=document)
        assert (await client.error("GET", "invocation/next"))[:2] == (403, "InvalidStateTransition")


async def test_an_earlier_init_error_fails_the_invocation_at_once() -> None:
    async with serving() as (api, client):
        await client.call("POST", "init/error", b'{"errorMessage": "no", "errorType": "E"}')
        handover = Handover(invocation())
        api.offer(handover)
        assert handover.settled.is_set()


async def test_the_first_answer_settles_an_invocation() -> None:
    handover = Handover(invocation())
    handover.settle(Answered(b"1"))
    handover.settle(Answered(b"2"))
    assert handover.response == Answered(b"1")


async def test_a_child_that_has_posted_an_init_error_may_not_ask_for_an_invocation() -> None:
    async with serving() as (api, client):
        await client.call("POST", "init/error", b'{"errorMessage": "no", "errorType": "E"}')
        with anyio.fail_after(5):
            assert (await client.error("GET", "invocation/next"))[:2] == (403, "InvalidStateTransition")
        assert not api.has_asked


async def test_an_invocation_for_a_child_that_ended_before_it_ever_asked_fails() -> None:
    api = RuntimeApi(function(command_kind("x")), before_event=nothing_before, emit=Recorded())
    api.end(partial(exited, status=4))
    handover = Handover(invocation(request_id="a"))
    api.offer(handover)
    assert handover.settled.is_set()
    assert isinstance(handover.response, FunctionError)
    assert handover.response.message == "RequestId: a Error: Runtime exited with error: exit status 4"


async def test_a_client_that_disconnects_while_it_waits_may_ask_again() -> None:
    async with serving() as (api, client):
        with anyio.move_on_after(0.05):
            await client.call("GET", "invocation/next")
        with anyio.fail_after(60):
            while api.is_asking:
                await anyio.lowlevel.checkpoint()
        api.offer(Handover(invocation(b"1")))
        assert (await client.call("GET", "invocation/next"))[2] == b"1"


async def test_a_client_that_expects_100_continue_gets_it() -> None:
    async with serving() as (api, client):
        handover = Handover(invocation(request_id="a"))
        api.offer(handover)
        await client.call("GET", "invocation/next")
        with anyio.fail_after(60):
            status, *_ = await client.call("POST", "invocation/a/response", b"x" * 10, Expect="100-continue")
        assert status == 202


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "invocation/next"), ("GET", "restore/next"), ("GET", "../../other"), ("POST", "invocation/a/b/c")],
)
async def test_other_paths_do_not_exist(method: str, path: str) -> None:
    async with serving() as (_, client):
        assert (await client.call(method, path))[0] == 404


STRANGER = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=60)
try:
    connection.request("GET", "/2018-06-01/runtime/invocation/next")
    print(connection.getresponse().status)
except ConnectionError:
    print(403)  # refused before the request was sent
"""


def status_for_a_stranger(address: str) -> int:
    """Return the status that a process of another session gets when it asks for an event."""
    command = [sys.executable, "-c", STRANGER, address]
    return int(subprocess.run(command, start_new_session=True, capture_output=True, check=True).stdout)


@pytest.mark.slow
async def test_a_process_of_another_session_gets_no_event() -> None:
    emit = Recorded()
    with other_session() as child:
        async with listening(emit, child=child) as (api, address):
            handover = Handover(invocation())
            api.offer(handover)
            status = await anyio.to_thread.run_sync(status_for_a_stranger, address)
            assert status == 403
            assert not handover.taken.is_set()
    (rejected,) = emit.of(RuntimeApiConnectionRejected)
    assert (rejected.child_pid, rejected.reason) == (child, "another_process")


async def test_a_connection_that_is_closed_at_once_disturbs_no_other() -> None:
    emit = Recorded()
    async with listening(emit) as (api, address):
        host, port = address.split(":")
        socket.create_connection((host, int(port))).close()
        async with aiohttp.ClientSession() as session:
            api.offer(Handover(invocation(b"1")))
            assert (await Client(session, address).call("GET", "invocation/next"))[2] == b"1"
    assert [one.reason for one in emit.of(RuntimeApiConnectionRejected)] == ["closed"], "no other process made it"


@pytest.mark.parametrize("turns", range(5))
async def test_a_connection_that_is_accepted_as_the_api_ends_is_closed(turns: int) -> None:
    """An accepted socket that stays open causes a ResourceWarning, and so an error."""
    async with listening(Recorded()) as (_, address):
        await anyio.wait_all_tasks_blocked()  # until it waits for connections
        host, port = address.split(":")
        client = socket.create_connection((host, int(port)))
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
    client.close()
    gc.collect()


async def test_a_child_has_a_limited_number_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.targets.runtime.api.CONNECTION_LIMIT", 2)
    emit = Recorded()
    async with listening(emit) as (_, address):
        host, port = address.split(":")
        streams = [await anyio.connect_tcp(host, int(port)) for _ in range(3)]
        with anyio.fail_after(10):
            assert (await streams[2].receive()).startswith(b"HTTP/1.1 403 ")
        for stream in streams:
            await stream.aclose()
    assert [one.reason for one in emit.of(RuntimeApiConnectionRejected)] == ["too_many_connections"]


async def test_a_child_that_has_ended_does_not_get_its_event() -> None:
    """Another child may already have the event."""
    begun, over = anyio.Event(), anyio.Event()

    async def before_event(event: Invocation) -> None:
        begun.set()
        await over.wait()

    statuses: list[int] = []
    async with listening(Recorded(), before_event) as (api, address), aiohttp.ClientSession() as session:

        async def ask() -> None:
            statuses.append((await Client(session, address).call("GET", "invocation/next"))[0])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            handover = Handover(invocation())
            api.offer(handover)
            await begun.wait()
            api.end(partial(exited, status=1))
            over.set()
        assert (statuses, handover.response) == ([403], None)


async def test_connections_are_accepted_again_once_there_are_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with listening(Recorded()) as (api, address):
        host, port = address.split(":")
        with socket.socket() as client:
            resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
            try:
                client.connect((host, int(port)))
                for _ in range(10):
                    await anyio.lowlevel.checkpoint()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            handover = Handover(invocation())
            api.offer(handover)
            client.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
            with anyio.fail_after(60):
                await handover.taken.wait()


@pytest.mark.slow
async def test_a_connection_waits_while_its_process_cannot_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = iter([True, True, False])

    def origin(connection: socket.socket, session: int) -> Origin:
        if next(lacking):
            raise OSError(errno.EMFILE, "Too many open files")
        return "session"

    monkeypatch.setattr("poller.targets.runtime.api.origin", origin)
    async with serving() as (api, client):
        api.offer(Handover(invocation(b"1")))
        with anyio.fail_after(60):
            assert (await client.call("GET", "invocation/next"))[2] == b"1"


async def test_closing_the_api_waits_for_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that the child left behind may keep the connection open without end, in the middle of a request."""
    monkeypatch.setattr("poller.targets.runtime.api.CLOSE_IN_SECONDS", 3600.0)
    clients: list[socket.socket] = []
    with anyio.fail_after(60):
        async with listening(Recorded()) as (api, address):
            host, port = address.split(":")
            for request in (b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n", b"POST /half", b""):
                clients.append(socket.create_connection((host, int(port))))
                clients[-1].sendall(request and request + b"Host: x\r\n\r\n")
            while not api.is_asking:
                await anyio.lowlevel.checkpoint()
    for client in clients:
        client.close()


async def test_closing_the_api_waits_for_no_client_that_leaves_its_event_unread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("poller.targets.runtime.api.CLOSE_IN_SECONDS", 3600.0)
    with anyio.fail_after(60):
        async with listening(Recorded()) as (api, address):
            handover = Handover(invocation(b"x" * 6_000_000))
            api.offer(handover)
            host, port = address.split(":")
            client = socket.create_connection((host, int(port)))
            client.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
            await handover.taken.wait()
    client.close()
