from __future__ import annotations

import asyncio

import anyio
import pytest
from anyio.lowlevel import checkpoint

from poller.functions.gate import FunctionGate

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_invocations_beyond_the_capacity_wait_in_line() -> None:
    gate = FunctionGate(2)
    order: list[int] = []

    async def invoke(number: int, done: anyio.Event) -> None:
        async with gate:
            order.append(number)
            assert gate.running <= 2
            await done.wait()

    done = anyio.Event()
    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(invoke, number, done)
            await checkpoint()
        await anyio.wait_all_tasks_blocked()
        assert len(order) == 2
        done.set()
    assert sorted(order) == list(range(6))
    assert gate.running == 0


async def pass_through(gate: FunctionGate) -> None:
    async with gate:
        await checkpoint()


async def test_someone_who_leaves_the_line_takes_no_place_along() -> None:
    gate = FunctionGate(1)
    async with gate, anyio.create_task_group() as group:
        group.start_soon(pass_through, gate)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert gate.running == 0


async def test_someone_who_is_called_and_cancelled_at_once_gives_the_place_back() -> None:
    gate = FunctionGate(1)
    async with anyio.create_task_group() as group:
        async with gate:
            group.start_soon(pass_through, gate)
            await anyio.wait_all_tasks_blocked()
        assert gate.running == 1, "the place went on to the one in line"
        group.cancel_scope.cancel()
    assert gate.running == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_that_is_cancelled_after_it_was_called_keeps_no_place() -> None:
    """anyio's scopes let such a task go on to its next wait; asyncio's own cancel, as at a loop's end, does not."""
    gate = FunctionGate(1)
    async with gate:
        task = asyncio.create_task(pass_through(gate))
        await anyio.wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gate.running == 0
