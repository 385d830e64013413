"""What does a child see of the Runtime API?"""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import anyio.lowlevel
import orjson
import pytest

from poller.model.invocation import Answered, FunctionError, Response
from poller.targets.failures import RESPONSE_LIMIT_IN_BYTES
from poller.targets.runtime.api import Handover, RuntimeApi
from tests.fakes.functions import ARN, command_kind, function, invocation

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Client:
    """A runtime client that does as the test says."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._url = f"http://{address}/2018-06-01/runtime/"

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(method, self._url + path, data=body, headers=names) as reply:
            return reply.status, dict(reply.headers), await reply.read()

    async def refusal(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str, str]:
        status, _, content = await self.call(method, path, body, **headers)
        document = orjson.loads(content)
        return status, document["errorType"], document["errorMessage"]


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[RuntimeApi, Client]]:
    api = RuntimeApi(function(command_kind("x"), timeout_in_seconds=30))
    async with api.serving() as address, aiohttp.ClientSession() as session:
        yield api, Client(session, address)


async def answer_to(handover: Handover) -> Response | None:
    with anyio.fail_after(5):
        await handover.settled.wait()
    return handover.response


async def test_next_brings_the_event_and_all_that_a_runtime_needs_to_know() -> None:
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


async def test_next_is_held_open_until_there_is_an_invocation() -> None:
    async with serving() as (api, client), anyio.create_task_group() as tasks:
        bodies: list[bytes] = []

        async def ask() -> None:
            bodies.append((await client.call("GET", "invocation/next"))[2])

        tasks.start_soon(ask)
        with anyio.fail_after(5):
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
        assert await client.refusal("POST", "invocation/a/response", b"1", **mode) == (
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
        assert await client.refusal("POST", "invocation/b/response", b"1") == expected
        assert await client.refusal("POST", "invocation/b/error", b"{}") == expected
        assert not handover.settled.is_set()


async def test_a_second_answer_is_refused() -> None:
    async with serving() as (api, client):
        handover = Handover(invocation(request_id="a"))
        api.offer(handover)
        await client.call("GET", "invocation/next")
        await client.call("POST", "invocation/a/response", b"1")
        expected = (400, "InvalidRequestID", "Invalid request ID")
        assert await client.refusal("POST", "invocation/a/response", b"2") == expected
        assert await client.refusal("POST", "invocation/a/error", b"{}") == expected
        assert await answer_to(handover) == Answered(b"1")


async def test_a_child_that_ends_in_the_middle_of_its_answer_gave_none() -> None:
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
        tasks.start_soon(client.refusal, "POST", "invocation/a/response", halves())
        await half_way.wait()
        api.end(1)
        over.set()
        answer = await answer_to(handover)
    assert isinstance(answer, FunctionError)
    assert answer.error_type == "Runtime.ExitError"


async def test_calls_out_of_turn_are_refused() -> None:
    async with serving() as (api, client):
        assert (await client.refusal("POST", "invocation/a/response", b"1"))[:2] == (403, "InvalidStateTransition")
        api.offer(Handover(invocation(request_id="a")))
        await client.call("GET", "invocation/next")
        assert (await client.refusal("GET", "invocation/next"))[:2] == (403, "InvalidStateTransition")
        assert (await client.refusal("POST", "init/error", b"{}"))[:2] == (403, "InvalidStateTransition")


@pytest.mark.parametrize("kind", ["response", "error"])
async def test_an_answer_that_is_too_large_fails_for_both_sides(kind: str) -> None:
    async with serving() as (api, client):
        handover = Handover(invocation(request_id="a"))
        api.offer(handover)
        await client.call("GET", "invocation/next")
        assert await client.refusal(
            "POST", f"invocation/a/{kind}", io.BytesIO(b"x" * (RESPONSE_LIMIT_IN_BYTES + 1))
        ) == (
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
        assert isinstance(await answer_to(handover), Answered)


async def test_an_init_error_fails_the_invocation_that_waits() -> None:
    async with serving() as (api, client):
        handover = Handover(invocation())
        api.offer(handover)
        document = b'{"errorMessage": "no module", "errorType": "Runtime.ImportModuleError"}'
        status, *_ = await client.call("POST", "init/error", document)
        assert status == 202
        answer = await answer_to(handover)
        assert answer == FunctionError(error_type="Runtime.ImportModuleError", message="no module", payload=document)
        assert (await client.refusal("GET", "invocation/next"))[:2] == (403, "InvalidStateTransition")


async def test_an_init_error_that_came_before_fails_the_invocation_at_once() -> None:
    async with serving() as (api, client):
        await client.call("POST", "init/error", b'{"errorMessage": "no", "errorType": "E"}')
        handover = Handover(invocation())
        api.offer(handover)
        assert handover.settled.is_set()


async def test_an_invocation_for_a_child_that_ended_before_it_ever_asked_fails() -> None:
    api = RuntimeApi(function(command_kind("x")))
    api.end(4)
    handover = Handover(invocation(request_id="a"))
    api.offer(handover)
    assert handover.settled.is_set()
    assert isinstance(handover.response, FunctionError)
    assert handover.response.message == "RequestId: a Error: Runtime exited with error: exit status 4"


async def test_a_client_that_hangs_up_while_it_waits_may_ask_again() -> None:
    async with serving() as (api, client):
        with anyio.move_on_after(0.05):
            await client.call("GET", "invocation/next")
        with anyio.fail_after(5):
            while api.is_asking:
                await anyio.lowlevel.checkpoint()
        api.offer(Handover(invocation(b"1")))
        assert (await client.call("GET", "invocation/next"))[2] == b"1"


async def test_curl_is_told_to_go_on_with_a_large_body() -> None:
    async with serving() as (api, client):
        handover = Handover(invocation(request_id="a"))
        api.offer(handover)
        await client.call("GET", "invocation/next")
        with anyio.fail_after(5):
            status, *_ = await client.call("POST", "invocation/a/response", b"x" * 10, Expect="100-continue")
        assert status == 202


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "invocation/next"), ("GET", "restore/next"), ("GET", "../../other"), ("POST", "invocation/a/b/c")],
)
async def test_other_paths_do_not_exist(method: str, path: str) -> None:
    async with serving() as (_, client):
        assert (await client.call(method, path))[0] == 404
