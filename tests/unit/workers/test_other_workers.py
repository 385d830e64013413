"""How does a worker let another worker make a call that it may not begin?"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from poller.admin.connections import MAXIMUM_CONNECTIONS, Connections
from poller.admin.server import Invoke, Pages, serve_control
from poller.engine.stop import Stop
from poller.lambda_api import invoking
from poller.lambda_api.exchange import Answer, Request
from poller.lambda_api.invoking import MAXIMUM_PAYLOAD_IN_BYTES, PASSED_ON
from poller.lambda_api.server import LONGEST_CALL_IN_SECONDS
from poller.model.function import Function
from poller.model.ids import FunctionName, RequestId
from poller.model.invocation import Answered, FunctionError, Invocation, LostAnswer, Throttled
from poller.workers import other_workers
from poller.workers.membership import Membership, socket_path
from poller.workers.other_workers import OtherWorkers, maximum_connections
from tests.fakes.api import FakeFunctions
from tests.fakes.changes import FakeChanges
from tests.fakes.functions import ARN, TRACE, TRACEPARENT, callable_kind, full_call, function

pytestmark = pytest.mark.anyio

FUNCTION = function(callable_kind("f:handler"), reserved_concurrency=1, is_concurrency_reserved=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Worker(FakeFunctions):
    """A worker with the server of Lambda's API.

    `asked` counts the calls that were passed on to it, and `headers` are those of the last one. A call waits until `go`
    is set, which is when `goes_at` calls have come.
    """

    def __init__(self) -> None:
        super().__init__(FUNCTION)
        self.asked = 0
        self.headers: Mapping[str, str] = {}
        self.go = anyio.Event()
        self.go.set()
        self.goes_at: int | None = None
        self._api = self.api()

    async def respond(self, request: web.Request, /, *, connections: Connections) -> web.StreamResponse:
        assert PASSED_ON in request.headers
        self.asked, self.headers = self.asked + 1, request.headers
        if self.asked == self.goes_at:
            self.go.set()
        with connections.working(request.transport, LONGEST_CALL_IN_SECONDS):
            await self.go.wait()
        return await self._api.respond(request, connections)


class Daemon:
    """A daemon of four workers, as its worker 2 sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stop = Stop()
        self.own = Worker()
        self.workers = {number: Worker() for number in (3, 4, 1)}
        membership = Membership(number=2, of=4, folder=str(folder), channel=-1)
        self.pass_on = OtherWorkers(membership, stop=self.stop).pass_on

    @asynccontextmanager
    async def serving(self, number: int, invoke: Invoke) -> AsyncIterator[None]:
        pages = Pages(CollectorRegistry(), list)
        async with serve_control(
            [socket_path(self.folder, number)],
            pages,
            changes=FakeChanges(),
            emit=lambda _: None,
            invoke=invoke,
            maximum_connections=maximum_connections(4),
        ):
            yield

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with (
            self.serving(2, self.own.respond),
            self.serving(3, self.workers[3].respond),
            self.serving(4, self.workers[4].respond),
            self.serving(1, self.workers[1].respond),
        ):
            yield

    @property
    def asked(self) -> dict[int, int]:
        return {number: worker.asked for number, worker in self.workers.items()}

    @property
    def called(self) -> dict[int, list[Invocation]]:
        return {number: worker.called for number, worker in self.workers.items() if worker.called}

    async def call(self, body: bytes = b"1") -> Answer | LostAnswer | None:
        return await self.pass_on(FUNCTION, request(body=body))


def request(name: str = FUNCTION.name, **parts: Any) -> Request:
    segments = ("2021-11-15", "functions", name, "response-streaming-invocations")
    return Request(method="POST", segments=segments, request_id=RequestId("r-1"), **parts)


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return Daemon(tmp_path)


async def test_another_worker_makes_the_call_with_all_that_the_client_has_sent(daemon: Daemon) -> None:
    headers = {
        "authorization": "a signature",
        "x-amz-client-context": "eyJjdXN0b20iOiB7InVzZXIiOiAiWm/DqyJ9fQ==",
        "x-amz-log-type": "Tail",
        "x-amzn-trace-id": TRACE,
        "traceparent": TRACEPARENT,
    }
    daemon.workers[3].response = Answered(b"2", "7", "END")
    async with daemon.running():
        sent = request(str(ARN), query={"Qualifier": "$LATEST"}, headers=headers, body=b'{"n": 1}')
        answer = await daemon.pass_on(FUNCTION, sent)
    ((called,),) = daemon.called.values()
    assert called == full_call(b'{"n": 1}')._replace(request_id=called.request_id, invoked_arn=f"{ARN}:$LATEST")
    assert "Authorization" not in daemon.workers[3].headers
    assert answer == Answer(
        body=b"2",
        headers={"X-Amzn-RequestId": called.request_id, "X-Amz-Executed-Version": "7", "X-Amz-Log-Result": "RU5E"},
    )


async def test_every_header_that_a_call_reads_is_passed_on() -> None:
    read: set[str] = set()

    class Headers(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            read.add(name)
            return default

    functions = FakeFunctions(FUNCTION)
    await functions.routes().answer(request(headers=Headers(), body=b"1"))
    assert read - {"x-amz-invocation-type"} == set(invoking.HEADERS_OF_A_CALL)


@pytest.mark.parametrize(
    ("response", "status", "header"),
    [
        (FunctionError(error_type="E", message="no"), 200, ("X-Amz-Function-Error", "Unhandled")),
        (Throttled(reason="host", retry_after=7.0), 429, ("Retry-After", "7")),
    ],
)
async def test_a_failure_of_the_function_is_an_answer(
    daemon: Daemon, response: FunctionError | Throttled, status: int, header: tuple[str, str]
) -> None:
    daemon.workers[3].response = response
    async with daemon.running():
        answer = await daemon.call()
    assert isinstance(answer, Answer)
    assert (answer.status, answer.headers[header[0]]) == (status, header[1])
    assert daemon.asked == {3: 1, 4: 0, 1: 0}


async def test_the_worker_that_has_made_the_last_call_is_asked_first(daemon: Daemon) -> None:
    daemon.workers[3].is_busy = daemon.workers[4].is_busy = True
    async with daemon.running():
        await daemon.call()
        assert daemon.asked == {3: 1, 4: 1, 1: 1}
        for _ in range(3):
            await daemon.call()
        assert daemon.asked == {3: 1, 4: 1, 1: 4}
        another = replace(FUNCTION, name=FunctionName("another"))
        await daemon.pass_on(another, request(body=b"1"))
        assert daemon.asked == {3: 2, 4: 2, 1: 5}, "this is about one function"
        daemon.workers[1].is_busy, daemon.workers[4].is_busy = True, False
        for _ in range(2):
            await daemon.call()
        assert daemon.asked == {3: 3, 4: 4, 1: 6}, "worker 4 has the unit now"


async def test_a_call_that_all_workers_refuse_is_refused_and_none_is_asked_twice(daemon: Daemon) -> None:
    async with daemon.running():
        await daemon.call()
        for worker in daemon.workers.values():
            worker.is_busy = True
        assert await daemon.call() is None
    assert daemon.asked == {3: 2, 4: 1, 1: 1}
    assert daemon.own.asked == 0


async def test_a_worker_that_does_not_run_or_does_not_know_the_function_is_passed_over(daemon: Daemon) -> None:
    daemon.workers[4].functions = {}
    async with daemon.serving(4, daemon.workers[4].respond), daemon.serving(1, daemon.workers[1].respond):
        assert isinstance(await daemon.call(), Answer)
    assert daemon.asked == {3: 0, 4: 1, 1: 1}


@contextmanager
def hung(daemon: Daemon, number: int) -> Iterator[socket.socket]:
    """Let this worker hang: its socket listens, and no request is read. Yields the socket."""
    with socket.socket(socket.AF_UNIX) as hanging:
        path = socket_path(daemon.folder, number)
        hanging.bind(str(path))
        hanging.listen()
        hanging.setblocking(False)
        yield hanging
        path.unlink()


def received(hanging: socket.socket) -> list[bytes]:
    """Return what each client has sent that has connected and left again."""
    requests = []
    with suppress(BlockingIOError):
        while True:
            connection, _ = hanging.accept()
            connection.setblocking(True)
            with connection, connection.makefile("rb") as file:
                requests.append(file.read())
    return requests


@pytest.mark.slow
async def test_a_worker_that_hangs_never_gets_the_body(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_workers, "LONGEST_WAIT_IN_SECONDS", 1.0)
    with hung(daemon, 3) as hanging:
        async with daemon.serving(4, daemon.workers[4].respond):
            assert isinstance(await daemon.call(b'"the body"'), Answer)
        (request,) = received(hanging)
    assert request.endswith(b"\r\n\r\n")
    assert b"the body" not in request
    assert daemon.asked[4] == 1


@pytest.mark.slow
async def test_only_one_call_at_a_time_waits_for_a_worker_that_hangs_until_it_goes_on(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_workers, "LONGEST_WAIT_IN_SECONDS", 1.0)
    async with daemon.serving(4, daemon.workers[4].respond):
        daemon.workers[4].is_busy = True
        with hung(daemon, 3) as hanging:
            for waiting in (5, 1, 1):
                async with anyio.create_task_group() as tasks:
                    for _ in range(5):
                        tasks.start_soon(daemon.call)
                assert len(received(hanging)) == waiting
        async with daemon.serving(3, daemon.workers[3].respond), anyio.create_task_group() as tasks:
            assert isinstance(await daemon.call(), Answer)
            for _ in range(5):
                tasks.start_soon(daemon.call)
    assert daemon.asked[3] == 6


@pytest.mark.slow
async def test_a_call_may_run_for_longer_than_a_worker_may_take_to_begin(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_workers, "LONGEST_WAIT_IN_SECONDS", 1.0)
    worker = daemon.workers[3]
    worker.go = anyio.Event()
    answers = []

    async def call() -> None:
        answers.append(await daemon.call())

    async with daemon.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.sleep(1.2)  # this is longer than the limit
        worker.go.set()
    assert [type(answer) for answer in answers] == [Answer]
    assert daemon.asked == {3: 1, 4: 0, 1: 0}


async def test_nobody_else_makes_a_call_if_a_worker_ends_after_it_got_the_body(daemon: Daemon) -> None:
    async def end(request: web.Request, /, *, connections: Connections) -> web.StreamResponse:
        assert await request.read() == b"1"
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with daemon.serving(3, end), daemon.serving(4, daemon.workers[4].respond):
        assert await daemon.call() == LostAnswer(reason="worker 3 ended before it answered")
    assert daemon.asked[4] == 0


async def test_the_next_worker_makes_a_call_if_a_worker_ends_before_it_got_the_body(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as ending:
        ending.bind(str(socket_path(daemon.folder, 3)))
        ending.listen()

        def end() -> None:
            connection, _ = ending.accept()
            connection.recv(1)
            connection.close()

        async with daemon.serving(4, daemon.workers[4].respond), anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, end)
            assert isinstance(await daemon.call(), Answer)
    assert daemon.asked[4] == 1


async def test_the_largest_payload_is_passed_on_whole(daemon: Daemon) -> None:
    body = b'"' + b"x" * (MAXIMUM_PAYLOAD_IN_BYTES - 2) + b'"'
    async with daemon.running():
        answer = await daemon.call(body)
    assert isinstance(answer, Answer)
    assert answer.body == body


async def test_a_worker_that_stops_passes_nothing_on(daemon: Daemon) -> None:
    async with daemon.running():
        daemon.stop.begin()
        assert await daemon.call() is None
    assert daemon.asked == {3: 0, 4: 0, 1: 0}


async def test_no_worker_is_asked_for_a_function_that_may_not_run(daemon: Daemon) -> None:
    async with daemon.running():
        assert await daemon.pass_on(replace(FUNCTION, reserved_concurrency=0), request()) is None
    assert daemon.asked == {3: 0, 4: 0, 1: 0}


async def test_only_a_limited_number_of_functions_is_remembered(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_workers, "MAXIMUM_REMEMBERED", 2)
    first, second, third = (replace(FUNCTION, name=FunctionName(name)) for name in ("first", "second", "third"))
    daemon.workers[3].is_busy = True

    async def asked_by(one: Function) -> int:
        """Return how often worker 3 is asked: never if the worker remembers who has made the last call."""
        before = daemon.asked[3]
        await daemon.pass_on(one, request(body=b"1"))
        return daemon.asked[3] - before

    async with daemon.running():
        assert [await asked_by(one) for one in (first, second, first, third)] == [1, 1, 0, 1]
        assert [await asked_by(one) for one in (first, third, second)] == [0, 0, 1]


async def test_a_worker_makes_more_calls_at_once_than_its_parent_may_have_connections(daemon: Daemon) -> None:
    calls = MAXIMUM_CONNECTIONS + 6
    daemon.workers[3].go, daemon.workers[3].goes_at = anyio.Event(), calls
    with anyio.fail_after(60):
        async with daemon.running(), anyio.create_task_group() as tasks:
            for _ in range(calls):
                tasks.start_soon(daemon.call)
    assert daemon.asked == {3: calls, 4: 0, 1: 0}


def test_calls_that_are_passed_on_leave_room_for_the_parent() -> None:
    assert maximum_connections(1) == 64
    assert maximum_connections(3) == 64 + 2 * 256
