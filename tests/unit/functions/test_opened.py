"""What does an invocation return, and what does the function learn from it?"""

from __future__ import annotations

import anyio
import pytest

from poller.core.batching import EMPTY_EVENT_BYTES, MAXIMUM_EVENT_BYTES
from poller.functions.opened import Contents, Invoked, OpenFunction
from poller.model.arn import Arn
from poller.model.function import Function, HttpService
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.invocation import Answered, FunctionError, Invocation, Response, TooLarge
from poller.model.outcome import Failed, Oversized, PartlyFailed, Succeeded

pytestmark = pytest.mark.anyio
INVOCATION = Invocation(RequestId("r"), b"x" * 1000, MappingName("m"), 1)
REFUSED = TooLarge(error_type="HTTP.413", message="413")
NAMED = Answered(b'{"batchItemFailures":[{"itemIdentifier":"b"}]}')


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Target:
    """Answers each invocation with `response`, after `seconds`."""

    def __init__(self, response: Response, seconds: float = 0.0) -> None:
        self.response = response
        self.seconds = seconds
        self.invoked: list[Invocation] = []

    async def invoke(self, invocation: Invocation) -> Response:
        self.invoked.append(invocation)
        await anyio.sleep(self.seconds)
        return self.response


def opened(target: Target) -> OpenFunction:
    return OpenFunction(
        Function(
            name=FunctionName("f"),
            arn=Arn.parse("arn:aws:lambda:eu-west-1:123456789012:function:f"),
            kind=HttpService(urls=("http://function.fake",)),
            timeout_in_seconds=10,
            reserved_concurrency=1,
        ),
        target,
    )


async def invoked(function: OpenFunction, contents: Contents) -> Invoked:
    async with function.gate.slot(unless=anyio.Event()):
        return await function.invoke(INVOCATION, contents, began_at=anyio.current_time())


async def test_an_invocation_returns_its_response_its_outcome_and_its_duration() -> None:
    target = Target(NAMED, seconds=0.05)
    contents = Contents(records=2, identifiers=iter(["a", "b"]), reports_item_failures=True)
    ended = await invoked(opened(target), contents)
    assert target.invoked == [INVOCATION]
    assert (ended.invocation, ended.contents, ended.response) == (INVOCATION, contents, NAMED)
    assert ended.outcome == PartlyFailed(frozenset({"b"}))
    assert 0.05 <= ended.duration_in_seconds < 5.0


async def test_an_asynchronous_event_names_no_records_so_its_answer_is_not_interpreted() -> None:
    assert (await invoked(opened(Target(NAMED)), Contents())).outcome == Succeeded()
    error = FunctionError(error_type="KeyError", message="'email'")
    assert (await invoked(opened(Target(error)), Contents())).outcome == Failed("KeyError", "'email'")
    assert (await invoked(opened(Target(REFUSED)), Contents())).outcome == Failed("HTTP.413", "413")


async def test_an_event_of_several_records_that_is_too_large_halves_the_room_for_records() -> None:
    function = opened(Target(REFUSED))
    contents = Contents(records=2, identifiers=["a", "b"], empty_event_bytes=EMPTY_EVENT_BYTES)
    assert (await invoked(function, contents)).outcome == Oversized("HTTP.413")
    limit = EMPTY_EVENT_BYTES + (1000 - EMPTY_EVENT_BYTES) // 2
    assert function.event_limit.in_bytes(anyio.current_time()) == limit


async def test_a_single_record_that_is_too_large_does_not_change_the_limit() -> None:
    function = opened(Target(REFUSED))
    assert isinstance((await invoked(function, Contents(identifiers=["a"]))).outcome, Failed)
    assert function.event_limit.in_bytes(anyio.current_time()) == MAXIMUM_EVENT_BYTES


async def test_an_invocation_without_a_slot_is_a_fault_of_poller() -> None:
    with pytest.raises(AssertionError, match="slot"):
        await opened(Target(NAMED)).invoke(INVOCATION, Contents(), began_at=0.0)


async def test_the_log_tail_of_the_last_failure_that_had_one_is_kept() -> None:
    target = Target(FunctionError(error_type="KeyError", message="'email'", log_tail="a\nb"))
    function = opened(target)
    assert function.last_log_tail is None
    await invoked(function, Contents())
    assert function.last_log_tail is not None
    at, tail = function.last_log_tail
    assert (tail, at <= anyio.current_time()) == ("a\nb", True)
    for response in (FunctionError(error_type="KeyError", message=""), Answered(b"", log_tail="of a success")):
        target.response = response
        await invoked(function, Contents())
    assert function.last_log_tail == (at, tail)


async def test_the_invocations_that_wait_for_a_slot_are_counted() -> None:
    function = opened(Target(NAMED))
    async with anyio.create_task_group() as tasks, function.gate.slot(unless=anyio.Event()):
        for number in range(3):
            tasks.start_soon(invoked, function, Contents())
            await anyio.wait_all_tasks_blocked()
            assert (function.gate.running, function.gate.waiting) == (1, number + 1)
    assert function.gate.waiting == 0
