"""When may a client's call of a function run?"""

from __future__ import annotations

import anyio
import pytest

from poller.functions import calling
from poller.functions.calling import LIMIT, RESERVED_LIMIT, STOPPING, call, may_begin_elsewhere
from poller.functions.opened import OpenFunction
from poller.functions.units import CUT, NO_UNIT
from poller.model.invocation import Answered, Invocation, Response, Throttled
from tests.fakes.functions import bare_call, function, http_kind

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Held:
    """A function that answers when `let_go` is set."""

    def __init__(self) -> None:
        self.let_go = anyio.Event()
        self.running = 0

    async def invoke(self, invocation: Invocation) -> Response:
        self.running += 1
        try:
            await self.let_go.wait()
        finally:
            self.running -= 1
        return Answered(invocation.payload)


def opened(target: Held, *, concurrency: int, is_reserved: bool, timeout_in_seconds: float = 60.0) -> OpenFunction:
    definition = function(
        http_kind("http://function.fake"),
        timeout_in_seconds=timeout_in_seconds,
        reserved_concurrency=concurrency,
        is_concurrency_reserved=is_reserved,
    )
    return OpenFunction(definition, target)


class Clients:
    """Calls of one function. `responses` has the responses in the order in which the calls ended."""

    def __init__(self, function: OpenFunction) -> None:
        self.responses: list[Response] = []
        self.stop = anyio.Event()
        self._function = function

    async def call(self) -> None:
        self.responses.append(await call(self._function, bare_call(b"1"), unless=self.stop))


async def test_a_call_runs_at_once_if_the_concurrency_is_not_used_up() -> None:
    target = Held()
    clients = Clients(opened(target, concurrency=2, is_reserved=True))
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(clients.call)
        await anyio.wait_all_tasks_blocked()
        assert target.running == 2
        target.let_go.set()
    assert clients.responses == [Answered(b"1")] * 2


@pytest.mark.parametrize("concurrency", [0, 1])
@pytest.mark.parity("calls wait in line")
async def test_a_call_beyond_the_reserved_concurrency_is_refused_at_once(concurrency: int) -> None:
    target = Held()
    function = opened(target, concurrency=concurrency, is_reserved=True)
    clients = Clients(function)
    async with anyio.create_task_group() as tasks:
        for _ in range(concurrency):
            tasks.start_soon(clients.call)
        await anyio.wait_all_tasks_blocked()
        await clients.call()
        assert clients.responses == [RESERVED_LIMIT]
        target.let_go.set()
    assert function.gate.running == 0


@pytest.mark.parity("calls wait in line")
async def test_a_call_waits_in_line_if_the_function_has_no_reserved_concurrency() -> None:
    target = Held()
    function = opened(target, concurrency=1, is_reserved=False)
    clients = Clients(function)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(clients.call)
        await anyio.wait_all_tasks_blocked()
        assert (target.running, function.calls_waiting) == (1, 2)
        target.let_go.set()
    assert clients.responses == [Answered(b"1")] * 3
    assert (function.gate.running, function.calls_waiting) == (0, 0)


async def test_a_call_waits_no_longer_than_the_functions_timeout() -> None:
    target = Held()
    function = opened(target, concurrency=1, is_reserved=False, timeout_in_seconds=0.01)
    clients = Clients(function)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clients.call)
        await anyio.wait_all_tasks_blocked()
        await clients.call()
        assert clients.responses == [LIMIT]
        assert (function.gate.running, function.calls_waiting) == (1, 0)
        target.let_go.set()


async def test_a_call_is_throttled_if_the_line_of_calls_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "LONGEST_LINE", 2)
    target = Held()
    clients = Clients(opened(target, concurrency=1, is_reserved=False))
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(clients.call)
        await anyio.wait_all_tasks_blocked()
        await clients.call()
        assert clients.responses == [LIMIT]
        target.let_go.set()


async def test_at_the_stop_waiting_calls_end_and_no_further_call_runs() -> None:
    target = Held()
    function = opened(target, concurrency=1, is_reserved=False)
    clients = Clients(function)
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(clients.call)
        await anyio.wait_all_tasks_blocked()
        clients.stop.set()
        function.gate.send_home()
        await anyio.wait_all_tasks_blocked()
        await clients.call()
        assert clients.responses == [STOPPING] * 2
        target.let_go.set()
    assert clients.responses[2:] == [Answered(b"1")]


async def test_a_call_that_is_cancelled_while_it_waits_leaves_the_line() -> None:
    target = Held()
    function = opened(target, concurrency=1, is_reserved=False)
    clients = Clients(function)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clients.call)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0.001):
            await clients.call()
        assert function.calls_waiting == 0
        target.let_go.set()
    assert function.gate.running == 0


@pytest.mark.parametrize("response", [RESERVED_LIMIT, NO_UNIT, STOPPING])
def test_another_worker_may_make_a_call_that_this_worker_has_refused(response: Response) -> None:
    assert may_begin_elsewhere(response)


@pytest.mark.parametrize("response", [Answered(b"1"), LIMIT, CUT, Throttled(reason=RESERVED_LIMIT.reason)])
def test_no_other_worker_may_make_a_call_that_has_begun_or_has_waited(response: Response) -> None:
    """The function's service may refuse a call with the same reason."""
    assert not may_begin_elsewhere(response)
