"""What does a mapping do if it receives more messages than its function can process in time? It receives fewer."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from poller.facts import ReceiptsExpired
from tests.fakes.target import FunctionPlan
from tests.simulation.life import Life
from tests.simulation.steps import Call, around_calls, live, stopping_at
from tests.simulation.world import World

MESSAGES = 3000
CALLS_THAT_MAY_BE_MADE = 4000
"""With one batch at a time, 300 receives, invocations and deletes would be enough."""


@pytest.mark.parametrize(("name", "visibility_timeout"), [("q", 2), ("q.fifo", 8)])
def test_a_service_that_is_slow_under_many_calls_gets_fewer_calls(
    name: str, visibility_timeout: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service makes one call after another. With 200 calls at once, a call takes as long as messages stay hidden.

    Eight seconds is the shortest timeout of a FIFO queue that is in use as it is, for a function of one second.
    """
    seconds_of_a_call = visibility_timeout / 200
    world = World()
    queue = world.add_queue(name, visibility_timeout_in_seconds=visibility_timeout)
    target = world.add_function(
        "f", FunctionPlan(duration_in_seconds=(0, 0.01)), timeout_in_seconds=1, concurrency=1000
    )
    world.add_mapping("m", queue, "f")
    service = anyio.Lock()
    invoke = target.invoke

    async def takes_turns(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if request.get("WaitTimeSeconds") and not queue.message_ids:
            return await call(request)
        async with service:
            await anyio.sleep(seconds_of_a_call)
            return await call(request | {"WaitTimeSeconds": 0})

    async def invoke_in_turn(invocation: Any) -> Any:
        async with service:
            await anyio.sleep(seconds_of_a_call)
        return await invoke(invocation)

    around_calls(monkeypatch, takes_turns)
    target.invoke = invoke_in_turn  # type: ignore[method-assign]

    async def until(life: Life) -> None:
        for number in range(MESSAGES):
            world.sqs.send(queue, "{}", group=f"g{number % 250}", deduplication_id=str(number))
        await stopping_at(CALLS_THAT_MAY_BE_MADE * seconds_of_a_call)(life)

    live(world, until)
    assert world.facts_of(ReceiptsExpired), "it has begun with more than can be invoked in time"
    assert not queue.message_ids
