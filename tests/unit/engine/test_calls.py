"""How do clients call functions of the daemon?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from poller.engine.calls import Calls, Opening
from poller.engine.sharing import Shared
from poller.engine.stop import Stop
from poller.errors import SettingsError
from poller.facts import FunctionCalled, FunctionCrashed
from poller.functions.calling import RESERVED_LIMIT, STOPPING
from poller.functions.capacity import FunctionCapacity
from poller.functions.opened import OpenFunction
from poller.model.function import Function
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
from tests.fakes.functions import bare_call, function, http_kind
from tests.fakes.recorded import Recorded

pytestmark = pytest.mark.anyio

OLD = function(http_kind("http://old.fake"), reserved_concurrency=1)
NEW = function(http_kind("http://new.fake"), reserved_concurrency=1)
RESERVED = function(http_kind("http://old.fake"), reserved_concurrency=1, is_concurrency_reserved=True)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class World:
    """Functions that answer `response` when `let_go` is set. `log` tells which were opened and closed.

    `shared` is the capacity of a function whose concurrency several workers share. This worker holds no unit of it.
    """

    def __init__(self) -> None:
        self.response: Response = Answered(b"1")
        self.let_go = anyio.Event()
        self.let_go.set()
        self.shared = FunctionCapacity(1, is_shared=True)
        self.log: list[str] = []
        self.error: Exception | None = None
        self.crash: Exception | None = None
        self.emit = Recorded()
        self.stop = Stop()

    @asynccontextmanager
    async def open(self, definition: Function) -> AsyncIterator[OpenFunction]:
        if self.error is not None:
            raise self.error
        name = "old" if definition is OLD else "new"
        self.log.append(f"opened {name}")
        yield OpenFunction(definition, self, self.shared if definition is RESERVED else None)
        self.log.append(f"closed {name}")
        if self.crash is not None:
            raise self.crash

    async def invoke(self, invocation: Invocation) -> Response:
        await self.let_go.wait()
        return self.response

    @asynccontextmanager
    async def calls(self) -> AsyncIterator[Calls]:
        async with anyio.create_task_group() as tasks:
            shared = Shared(self.open, tasks=tasks)
            calls = Calls(
                lambda function: Opening(function, lambda: shared.use(function)), stop=self.stop, emit=self.emit
            )
            async with calls.running():
                yield calls


async def test_a_function_is_opened_at_its_first_call_and_stays_open() -> None:
    world = World()
    async with world.calls() as calls:
        assert world.log == []
        for _ in range(3):
            assert await calls.call(OLD, bare_call()) == Answered(b"1")
        await anyio.wait_all_tasks_blocked()
        assert world.log == ["opened old"]
    assert world.log == ["opened old", "closed old"]


async def test_after_a_reload_the_old_function_closes_once_its_calls_have_ended() -> None:
    world = World()
    async with world.calls() as calls, anyio.create_task_group() as tasks:
        world.let_go = anyio.Event()
        tasks.start_soon(calls.call, OLD, bare_call())
        await anyio.wait_all_tasks_blocked()
        calls.settle(keep=(NEW,))
        await anyio.wait_all_tasks_blocked()
        assert world.log == ["opened old"]
        world.let_go.set()
        await calls.call(NEW, bare_call())
        await anyio.wait_all_tasks_blocked()
        assert sorted(world.log) == ["closed old", "opened new", "opened old"]
        calls.settle(keep=(NEW,))
        await anyio.wait_all_tasks_blocked()
        assert "closed new" not in world.log


async def test_a_function_that_cannot_be_opened_fails_its_call_and_no_later_one() -> None:
    world = World()
    async with world.calls() as calls:
        world.error = SettingsError(["no such program"])
        with pytest.raises(SettingsError):
            await calls.call(OLD, bare_call())
        world.error = None
        assert await calls.call(OLD, bare_call()) == Answered(b"1")
        await anyio.wait_all_tasks_blocked()
        assert world.log == ["opened old"]


async def test_at_the_stop_running_calls_may_end_and_the_others_are_refused() -> None:
    world = World()
    world.let_go = anyio.Event()
    responses: list[Response] = []

    async def call_once() -> None:
        responses.append(await calls.call(OLD, bare_call()))

    async with anyio.create_task_group() as tasks:
        async with world.calls() as calls:
            for _ in range(2):
                tasks.start_soon(call_once)
            await anyio.wait_all_tasks_blocked()
            world.stop.begin()
            await anyio.wait_all_tasks_blocked()
            await call_once()
            assert responses == [STOPPING, STOPPING]

            async def end_later() -> None:
                await anyio.wait_all_tasks_blocked()
                world.let_go.set()

            tasks.start_soon(end_later)
        assert responses[2:] == [Answered(b"1")]


async def test_after_the_grace_the_end_does_not_wait_for_calls() -> None:
    world = World()
    world.let_go = anyio.Event()
    async with anyio.create_task_group() as tasks:
        shared = Shared(world.open, tasks=tasks)
        calls = Calls(lambda one: Opening(one, lambda: shared.use(one)), stop=world.stop, emit=world.emit)
        with anyio.fail_after(60):
            async with calls.running():
                tasks.start_soon(calls.call, OLD, bare_call())
                await anyio.wait_all_tasks_blocked()
                world.stop.hurry()
        assert world.emit.of(FunctionCalled) == []
        world.let_go.set()


async def test_a_function_that_crashes_is_reported_and_opened_again() -> None:
    world = World()
    world.crash = ValueError("a fault")
    async with world.calls() as calls:
        await calls.call(OLD, bare_call())
        calls.settle(keep=())
        (fact,) = [await world.emit.first(FunctionCrashed)]
        assert (fact.function, fact.error) == (OLD.name, world.crash)
        assert await calls.call(OLD, bare_call()) == Answered(b"1")
        world.crash = None


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Answered(b"1"), ("succeeded", "", "")),
        (FunctionError(error_type="KeyError", message="'id'"), ("failed", "KeyError", "'id'")),
        (TooLarge(error_type="HTTP.413", message="413"), ("failed", "HTTP.413", "413")),
        (LostAnswer(reason="reset"), ("failed", "LostAnswer", "reset")),
        (Throttled(reason="HTTP.429", detail="host: 429"), ("throttled", "HTTP.429", "host: 429")),
        (Unreachable(reason="HTTP.500", detail="host: 500"), ("unreachable", "HTTP.500", "host: 500")),
    ],
)
async def test_each_call_is_reported_with_its_outcome(response: Response, expected: tuple[str, str, str]) -> None:
    world = World()
    world.response = response
    async with world.calls() as calls:
        assert await calls.call(OLD, bare_call()) == response
    (fact,) = world.emit.of(FunctionCalled)
    assert (fact.outcome, fact.reason, fact.detail) == expected
    assert (fact.function, fact.request_id) == (OLD.name, bare_call().request_id)


class OtherWorker:
    """Another worker, which answers `answer` when `let_go` is set."""

    def __init__(self, answer: str | LostAnswer | None) -> None:
        self.let_go = anyio.Event()
        self.let_go.set()
        self.calls = 0
        self._answer = answer

    async def call(self) -> str | LostAnswer | None:
        self.calls += 1
        await self.let_go.wait()
        return self._answer


def asks_for_a_unit(world: World) -> bool:
    assert world.shared.units is not None
    return world.shared.units.is_missing


async def test_another_worker_makes_a_call_for_which_this_worker_has_no_unit_and_reports_it() -> None:
    world, other = World(), OtherWorker("the answer")
    async with world.calls() as calls:
        assert await calls.call(RESERVED, bare_call(), other.call) == "the answer"
    assert world.emit.of(FunctionCalled) == []
    assert not asks_for_a_unit(world)


async def test_another_worker_makes_a_call_if_this_worker_may_not_use_its_unit_any_more() -> None:
    world, other = World(), OtherWorker("the answer")
    assert world.shared.units is not None
    world.shared.units.add(may_begin=lambda: False)
    async with world.calls() as calls:
        assert await calls.call(RESERVED, bare_call(), other.call) == "the answer"


async def test_a_call_that_all_workers_refuse_is_reported_and_this_worker_asks_for_a_unit() -> None:
    world, other = World(), OtherWorker(None)
    async with world.calls() as calls:
        assert await calls.call(RESERVED, bare_call(), other.call) is RESERVED_LIMIT
    (fact,) = world.emit.of(FunctionCalled)
    assert (other.calls, fact.outcome) == (1, "throttled")
    assert asks_for_a_unit(world)


async def test_a_call_whose_answer_the_other_worker_has_lost_is_reported() -> None:
    world, other = World(), OtherWorker(LostAnswer(reason="worker 2 ended"))
    async with world.calls() as calls:
        assert await calls.call(RESERVED, bare_call(), other.call) == LostAnswer(reason="worker 2 ended")
    (fact,) = world.emit.of(FunctionCalled)
    assert (fact.outcome, fact.reason, fact.detail) == ("failed", "LostAnswer", "worker 2 ended")
    assert not asks_for_a_unit(world), "the other worker has one"


async def test_no_other_worker_makes_a_call_that_has_begun_here() -> None:
    world, other = World(), OtherWorker("the answer")
    world.response = Throttled(reason=RESERVED_LIMIT.reason)
    async with world.calls() as calls:
        assert await calls.call(OLD, bare_call(), other.call) == world.response
    assert other.calls == 0


async def test_another_worker_may_make_a_call_that_begins_after_the_stop_of_this_one() -> None:
    world = World()
    async with world.calls() as calls:
        world.stop.begin()
        assert await calls.call(OLD, bare_call(), OtherWorker("the answer").call) == "the answer"
        assert await calls.call(OLD, bare_call(), OtherWorker(None).call) is STOPPING


async def test_the_stop_waits_for_a_call_that_another_worker_makes() -> None:
    world, other = World(), OtherWorker("the answer")
    other.let_go = anyio.Event()
    answers: list[Response | str] = []

    async def call_once() -> None:
        answers.append(await calls.call(RESERVED, bare_call(), other.call))

    async def end_later() -> None:
        await anyio.wait_all_tasks_blocked()
        assert answers == []
        other.let_go.set()

    async with anyio.create_task_group() as tasks:
        async with world.calls() as calls:
            tasks.start_soon(call_once)
            await anyio.wait_all_tasks_blocked()
            world.stop.begin()
            tasks.start_soon(end_later)
        assert answers == ["the answer"]
